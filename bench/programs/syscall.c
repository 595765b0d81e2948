// SPDX-License-Identifier: Apache-2.0
// The null system call.

#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

enum { calls = 2000 };

static uint64_t round_of_calls(void) {
    for (int i = 0; i < calls; i++) syscall(SYS_getppid);
    return calls;
}

int main(void) { bench("syscall", "ns", calls, round_of_calls); }
