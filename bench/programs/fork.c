// SPDX-License-Identifier: Apache-2.0
// fork exit: a child that ends at once. fork exec: one that becomes this program again, and then ends.

#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { children = 4 };

static char self[] = "/proc/self/exe";

static void wait_for(pid_t child) {
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) die("fork");
}

static uint64_t round_of_exits(void) {
    for (int i = 0; i < children; i++) {
        const pid_t child = fork();
        if (child == 0) _exit(0);
        wait_for(child);
    }
    return children;
}

static uint64_t round_of_execs(void) {
    for (int i = 0; i < children; i++) {
        const pid_t child = fork();
        if (child == 0) {
            execl(self, "fork", "end", (char*)NULL);
            _exit(1);
        }
        wait_for(child);
    }
    return children;
}

int main(int argc, char** argv) {
    const char* what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "end") == 0) return 0;
    if (strcmp(what, "exec") == 0)
        bench("fork-exec", "us", children, round_of_execs);
    else
        bench("fork-exit", "us", children, round_of_exits);
}
