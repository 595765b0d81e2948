// SPDX-License-Identifier: Apache-2.0
// memory fault: the first write to each page of a fresh mapping. memory map: mmap and munmap of a page that
// nobody touches.

#include <sys/mman.h>

#include "bench.h"

enum { pages = 256, page = 4096, mappings = 500 };

static char* map(size_t size) {
    char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("mmap");
    return memory;
}

static uint64_t round_of_faults(void) {
    const size_t size = (size_t)pages * page;
    char* memory = map(size);
    madvise(memory, size, MADV_NOHUGEPAGE);  // one fault a page everywhere
    for (size_t at = 0; at < size; at += page) *(volatile char*)(memory + at) = 1;
    munmap(memory, size);
    return pages;
}

static uint64_t round_of_mappings(void) {
    for (int i = 0; i < mappings; i++) munmap(map(page), page);
    return mappings;
}

int main(int argc, char** argv) {
    if (argc > 1 && strcmp(argv[1], "map") == 0)
        bench("memory-map", "ns", mappings, round_of_mappings);
    else
        bench("memory-fault", "ns", pages, round_of_faults);
}
