// SPDX-License-Identifier: Apache-2.0
// A process sends itself a signal, and its handler returns.

#include <signal.h>
#include <unistd.h>

#include "bench.h"

enum { signals = 500 };

static volatile int delivered;

static void handle(int signal) {
    (void)signal;
    delivered++;
}

static uint64_t round_of_signals(void) {
    const pid_t self = getpid();
    delivered = 0;
    for (int i = 0; i < signals; i++) kill(self, SIGUSR1);
    return (uint64_t)delivered;
}

int main(void) {
    struct sigaction action = {.sa_handler = handle};
    sigaction(SIGUSR1, &action, NULL);
    bench("signal", "ns", signals, round_of_signals);
}
