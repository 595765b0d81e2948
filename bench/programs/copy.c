// SPDX-License-Identifier: Apache-2.0
// copy small: memcpy of 1 to 256 bytes. copy large: memcpy of 8 MiB. copy movsb: `rep movsb` of 256 KiB.
// copy aliased: memcpy of 2 KiB between buffers that lie 8 MiB apart, so that in a direct-mapped table of
// translations, such as a software TLB, their pages want the same place.

#include "bench.h"

enum {
    large = 8 << 20,
    medium = 256 << 10,
    small = 256,
    small_copies = 50000,
    aliased = 2048,
    aliased_copies = 2000
};

// Apart by 8 MiB and three pages, as buffers from an allocator are apart by its headers.
static struct { char from[large], gap[3 * 4096], to[large]; } memory __attribute__((aligned(4096)));
static char *const from = memory.from, *const to = memory.to;
static uint16_t lengths[1024];

static uint64_t copy_small(void) {
    for (int i = 0; i < small_copies; i++) {
        memcpy(to + (i & 0xff0), from + (i & 0x3ff), lengths[i & 1023]);
        __asm__ volatile("" ::: "memory");
    }
    return (uint8_t)to[100];
}

static uint64_t copy_large(void) {
    memcpy(to, from, large);
    __asm__ volatile("" ::: "memory");
    return (uint8_t)to[large - 1];
}

static uint64_t copy_aliased(void) {
    for (int i = 0; i < aliased_copies; i++) {
        memcpy(memory.gap, from, aliased);
        __asm__ volatile("" ::: "memory");
    }
    return (uint8_t)memory.gap[0];
}

static uint64_t copy_movsb(void) {
    const char* source = from;
    char* target = to;
    size_t count = medium;
    __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(count)::"memory");
    return (uint64_t)(target - to) + count;
}

int main(int argc, char** argv) {
    const char* what = argc > 1 ? argv[1] : "small";
    uint64_t state = 9;
    for (int i = 0; i < 1024; i++) lengths[i] = (uint16_t)((next_random(&state) >> 40) % small + 1);
    memset(from, 'a', large);
    memset(to, 'b', large);
    if (strcmp(what, "large") == 0)
        bench("copy-large", "MB/s", large, copy_large);
    else if (strcmp(what, "aliased") == 0)
        bench("copy-aliased", "ns", aliased_copies, copy_aliased);
    else if (strcmp(what, "movsb") == 0)
        bench("copy-movsb", "MB/s", medium, copy_movsb);
    else
        bench("copy-small", "ns", small_copies, copy_small);
}
