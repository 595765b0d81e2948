// SPDX-License-Identifier: Apache-2.0
// busybox's shell runs 300 commands, each a process of its own.

#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static char busybox[PATH_MAX];  // it lies beside this program

static uint64_t run_loop(void) {
    static char script[] = "i=0; while [ $i -lt 300 ]; do \"$0\" true && i=$((i + 1)); done";
    static char shell[] = "sh", option[] = "-c";
    char* arguments[] = {shell, option, script, busybox, NULL};
    pid_t child;
    int status = 1;
    if (posix_spawn(&child, busybox, NULL, NULL, arguments, environ) != 0) die(busybox);
    if (waitpid(child, &status, 0) != child || status != 0) die("shell");
    return 300;
}

int main(void) {
    char self[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) die("readlink");
    self[length] = 0;
    snprintf(busybox, sizeof busybox, "%s/busybox", dirname(self));
    bench("shell", "ms", 1, run_loop);
}
