// SPDX-License-Identifier: Apache-2.0
// flood write N: N bytes (rounded down to whole lines of 64) of a fixed text in which every line differs, for
// seeing whether a console loses, doubles or reorders anything. Printable, each line ends in \n alone.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void make_line(char line[64], uint64_t number) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    snprintf(line, 64, "%015lu ", number);
    uint64_t state = number * 0x9e3779b97f4a7c15 + 1;
    for (int i = 16; i < 63; i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        line[i] = letters[state >> 58];
    }
    line[63] = '\n';
}

int main(int count, char** arguments) {
    if (count != 3 || strcmp(arguments[1], "write") != 0) {
        fprintf(stderr, "expected: flood write BYTES\n");
        return 2;
    }
    const uint64_t lines = strtoull(arguments[2], NULL, 10) / 64;
    static char block[64 * 64];
    for (uint64_t next = 0; next < lines;) {
        size_t size = 0;
        for (; size < sizeof block && next < lines; size += 64) make_line(block + size, next++);
        for (size_t done = 0; done < size;) {
            const ssize_t written = write(1, block + done, size - done);
            if (written <= 0) {
                perror("flood");
                return 1;
            }
            done += (size_t)written;
        }
    }
}
