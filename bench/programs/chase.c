// SPDX-License-Identifier: Apache-2.0
// chase l1|l2|memory: follows pointers around a ring, one in each cache line in an order that looks random.

#include <sys/mman.h>

#include "bench.h"

enum { line = 64 };

static const struct Ring {
    const char *name, *row;
    size_t bytes, steps;
} rings[] = {{"l1", "chase-l1", 16 << 10, 500000},
             {"l2", "chase-l2", 256 << 10, 200000},
             {"memory", "chase-memory", 64 << 20, 5000}};

static void** position;
static size_t steps;

static void** make_ring(size_t bytes) {
    const size_t count = bytes / line;
    char* memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t* order = malloc(count * sizeof *order);
    if (memory == MAP_FAILED || order == NULL) die("memory");
    madvise(memory, bytes, MADV_NOHUGEPAGE);  // pages of one size everywhere
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    uint64_t state = 7;
    for (size_t i = count - 1; i > 0; i--) {
        const size_t other = (size_t)(next_random(&state) >> 11) % (i + 1);
        const uint32_t kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    for (size_t i = 0; i < count; i++)
        *(void**)(memory + (size_t)order[i] * line) = memory + (size_t)order[(i + 1) % count] * line;
    free(order);
    return (void**)memory;
}

static uint64_t chase(void) {
    void** at = position;
    for (size_t i = 0; i < steps; i++) at = *at;
    position = at;  // the next round goes on from here
    return steps + (at == NULL);
}

int main(int argc, char** argv) {
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        if (strcmp(argc > 1 ? argv[1] : "l1", rings[i].name) != 0) continue;
        position = make_ring(rings[i].bytes);
        steps = rings[i].steps;
        bench(rings[i].row, "ns", (double)steps, chase);
    }
}
