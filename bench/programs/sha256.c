// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4) in plain C: arithmetic in registers, few memory accesses.

#include "bench.h"

enum { bytes = 256 << 10, block = 64 };

static uint8_t data[bytes];
static uint32_t constants[64], first_state[8];

// The first 32 fractional bits of the square and cube roots of the first primes, as the standard has them.
static uint32_t fraction_of_root(unsigned prime, int degree) {
    unsigned __int128 low = 0, high = (unsigned __int128)1 << 37;
    while (high - low > 1) {
        const unsigned __int128 middle = (low + high) / 2;
        // middle has 32 fractional bits; compare middle^degree with prime in 32*degree of them.
        const unsigned __int128 power = degree == 2 ? middle * middle : middle * middle * middle;
        if (power <= (unsigned __int128)prime << (32 * degree))
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)low;
}

static void make_constants(void) {
    int found = 0;
    for (unsigned candidate = 2; found < 64; candidate++) {
        unsigned divisor = 2;
        while (candidate % divisor != 0) divisor++;
        if (divisor != candidate) continue;
        if (found < 8) first_state[found] = fraction_of_root(candidate, 2);
        constants[found++] = fraction_of_root(candidate, 3);
    }
}

static inline uint32_t rotate(uint32_t value, int count) { return value >> count | value << (32 - count); }

static void compress(uint32_t state[8], const uint8_t* from) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        memcpy(&w[i], from + 4 * i, 4);
        w[i] = __builtin_bswap32(w[i]);
    }
    for (int i = 16; i < 64; i++) {
        const uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        const uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        const uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + constants[i] + w[i];
        const uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static uint64_t hash_all(void) {
    uint32_t state[8];
    memcpy(state, first_state, sizeof state);
    for (size_t at = 0; at < bytes; at += block) compress(state, data + at);
    return (uint64_t)state[0] << 32 | state[7];
}

int main(void) {
    make_constants();
    if (first_state[0] != 0x6a09e667 || constants[63] != 0xc67178f2) die("constants");
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)(i * 7 + (i >> 8));
    bench("sha256", "MB/s", bytes, hash_all);
}
