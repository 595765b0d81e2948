// SPDX-License-Identifier: Apache-2.0
// A byte goes to another process and back, by two pipes.

#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { trips = 100 };

static int there[2], back[2];

static void echo_until_end(void) {
    uint8_t byte;
    close(there[1]);
    while (read(there[0], &byte, 1) == 1) {
        byte++;
        if (write(back[1], &byte, 1) != 1) _exit(1);
    }
    _exit(0);
}

static uint64_t round_of_trips(void) {
    uint64_t sum = 0;
    for (int i = 0; i < trips; i++) {
        uint8_t byte = (uint8_t)i;
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) die("pipe");
        sum += byte;
    }
    return sum;
}

int main(void) {
    if (pipe(there) != 0 || pipe(back) != 0) die("pipe");
    const pid_t child = fork();
    if (child == 0) echo_until_end();
    bench("pipe", "ns", trips, round_of_trips);
    close(there[1]);
    waitpid(child, NULL, 0);
}
