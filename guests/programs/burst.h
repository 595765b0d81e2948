// SPDX-License-Identifier: Apache-2.0
// For our guest test programs: computing that takes a while, and whose result can be had at once.

#pragma once

#include <stdbool.h>
#include <stdint.h>

// x -> x * factor + 1, modulo 2^64: `steps` of them one by one, and at once.
enum { Burst = 3000000 };  // steps: some milliseconds
static const uint64_t factor = 6364136223846793005;

__attribute__((noinline)) static uint64_t one_by_one(uint64_t x, uint64_t steps) {
    for (uint64_t i = 0; i < steps; i++) {
        x = x * factor + 1;
        asm volatile("" : "+r"(x));
    }
    return x;
}

static uint64_t at_once(uint64_t x, uint64_t steps) {
    uint64_t multiply = 1, add = 0;
    for (uint64_t m = factor, a = 1; steps != 0; steps >>= 1) {
        if (steps & 1) add = add * m + a, multiply *= m;
        a = a * m + a;
        m *= m;
    }
    return x * multiply + add;
}

static bool burst(uint64_t x) { return one_by_one(x, Burst) == at_once(x, Burst); }
