// SPDX-License-Identifier: Apache-2.0
// Quicksort of 10,000 numbers: compares, swaps, branches that nobody can predict.

#include "bench.h"

enum { count = 10000 };

static int64_t numbers[count];

static void sort(int64_t* first, int64_t* last) {
    while (last - first > 0) {
        const int64_t pivot = first[(last - first) / 2];
        int64_t *low = first, *high = last;
        while (low <= high) {
            while (*low < pivot) low++;
            while (*high > pivot) high--;
            if (low > high) break;
            const int64_t kept = *low;
            *low++ = *high;
            *high-- = kept;
        }
        if (high - first < last - low) {
            sort(first, high);
            first = low;
        } else {
            sort(low, last);
            last = high;
        }
    }
}

static uint64_t sort_all(void) {
    uint64_t state = 1, sum = 0;
    for (int i = 0; i < count; i++) numbers[i] = (int64_t)(next_random(&state) >> 1);
    sort(numbers, numbers + count - 1);
    for (int i = 1; i < count; i++) {
        if (numbers[i - 1] > numbers[i]) die("sort");
        sum += (uint64_t)numbers[i] * (uint64_t)i;
    }
    return sum;
}

int main(void) { bench("quicksort", "ms", 1, sort_all); }
