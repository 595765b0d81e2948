// SPDX-License-Identifier: Apache-2.0
// For the programs that bench/compare runs natively and in guests: a row of the table is a fixed piece of
// work, done in rounds, of which the median counts. bench/README.md has the lines that are printed.

#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __cplusplus
#define BENCH_UNUSED [[maybe_unused]]
#else
#define BENCH_UNUSED __attribute__((unused))
#endif

enum { most_rounds = 1000 };

// When there have been enough rounds. The first ones warm caches and, in a translator, translate; the median
// of five does not see them.
static const double enough_seconds = 0.25;  // of at least five rounds
static const double long_seconds = 1.0;     // of at least three, where a round takes long

BENCH_UNUSED static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

BENCH_UNUSED static void die(const char* reason) {
    perror(reason);
    exit(1);
}

BENCH_UNUSED static int compare_seconds(const void* left, const void* right) {
    const double a = *(const double*)left, b = *(const double*)right;
    return (a > b) - (a < b);
}

// The value in `unit` of `amount` operations, or bytes, or floating-point operations, in `seconds`.
BENCH_UNUSED static double in_unit(const char* unit, double seconds, double amount) {
    if (strcmp(unit, "ns") == 0) return seconds / amount * 1e9;
    if (strcmp(unit, "us") == 0) return seconds / amount * 1e6;
    if (strcmp(unit, "ms") == 0) return seconds / amount * 1e3;
    return amount / seconds * 1e-6;  // MB/s, MFLOP/s
}

// Runs `round` again and again; each time it must give the same answer, which is printed, too, so that
// whoever compares machines can see that all have done the same.
BENCH_UNUSED static void bench(const char* row, const char* unit, double amount, uint64_t (*round)(void)) {
    static double seconds[most_rounds];
    const double start = seconds_now();
    double now = start;
    uint64_t answer = 0;
    int rounds = 0;
    while (rounds < most_rounds) {
        const uint64_t this_answer = round();
        const double then = now;
        now = seconds_now();
        seconds[rounds++] = now - then;
        if (rounds > 1 && this_answer != answer) {
            fprintf(stderr, "%s: two rounds, two answers\n", row);
            exit(1);
        }
        answer = this_answer;
        const double all = now - start;
        if ((rounds >= 5 && all > enough_seconds) || (rounds >= 3 && all > long_seconds)) break;
    }
    qsort(seconds, (size_t)rounds, sizeof seconds[0], compare_seconds);
    printf("BENCH %s %.6g %s\nANSWER %s %016llx\nTOOK %s %.6f\n", row,
           in_unit(unit, seconds[rounds / 2], amount), unit, row, (unsigned long long)answer, row,
           now - start);
    fflush(stdout);
}

// A fixed sequence of numbers that looks random (xorshift64*).
BENCH_UNUSED static uint64_t next_random(uint64_t* state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}
