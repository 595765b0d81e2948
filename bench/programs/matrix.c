// SPDX-License-Identifier: Apache-2.0
// matrix sse2|avx2: the product of two 128 x 128 matrices of floats, with vectors of four or of eight.

#include <immintrin.h>

#include "bench.h"

enum { size = 128 };

static float a[size][size] __attribute__((aligned(64)));
static float b[size][size] __attribute__((aligned(64)));
static float c[size][size] __attribute__((aligned(64)));

static uint64_t sum_of_bits(void) {
    uint64_t sum = 0;
    for (int i = 0; i < size; i++) {
        for (int j = 0; j < size; j++) {
            uint32_t bits;
            memcpy(&bits, &c[i][j], sizeof bits);
            sum = sum * 31 + bits;
        }
    }
    return sum;
}

static uint64_t multiply_sse2(void) {
    for (int i = 0; i < size; i++) {
        for (int j = 0; j < size; j += 16) {
            __m128 sums[4] = {_mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps()};
            for (int k = 0; k < size; k++) {
                const __m128 factor = _mm_set1_ps(a[i][k]);
                for (int v = 0; v < 4; v++)
                    sums[v] = _mm_add_ps(sums[v], _mm_mul_ps(factor, _mm_load_ps(&b[k][j + 4 * v])));
            }
            for (int v = 0; v < 4; v++) _mm_store_ps(&c[i][j + 4 * v], sums[v]);
        }
    }
    return sum_of_bits();
}

__attribute__((target("avx2"))) static uint64_t multiply_avx2(void) {
    for (int i = 0; i < size; i++) {
        for (int j = 0; j < size; j += 32) {
            __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                              _mm256_setzero_ps()};
            for (int k = 0; k < size; k++) {
                const __m256 factor = _mm256_set1_ps(a[i][k]);
                for (int v = 0; v < 4; v++)
                    sums[v] = _mm256_add_ps(sums[v], _mm256_mul_ps(factor, _mm256_load_ps(&b[k][j + 8 * v])));
            }
            for (int v = 0; v < 4; v++) _mm256_store_ps(&c[i][j + 8 * v], sums[v]);
        }
    }
    return sum_of_bits();
}

int main(int argc, char** argv) {
    for (int i = 0; i < size; i++) {
        for (int j = 0; j < size; j++) {
            a[i][j] = (float)((i * 3 + j) % 17) / 3;
            b[i][j] = (float)((i + j * 5) % 13) / 7;
        }
    }
    const double operations = 2.0 * size * size * size;
    if (argc > 1 && strcmp(argv[1], "avx2") == 0)
        bench("matrix-avx2", "MFLOP/s", operations, multiply_avx2);
    else
        bench("matrix-sse2", "MFLOP/s", operations, multiply_sse2);
}
