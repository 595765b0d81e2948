// SPDX-License-Identifier: Apache-2.0
// Virtual memory: protections that change under code that has just used a page, copy-on-write, shared
// mappings, aliases of one page, remapping, large pages. What goes wrong when a TLB keeps what it should
// drop.

#include "result.h"

static void protections(void) {
    volatile char* page = map_pages(1, PROT_READ | PROT_WRITE);
    volatile int wrong = 0;
    for (int i = 0; i < 200; i++) {
        page[5] = (char)i;  // now the page is in the TLB, writable
        mprotect((void*)page, PAGE, PROT_READ);
        if (!CATCHES(page[5] = 1) || caught.address != (uint64_t)page + 5) wrong++;
        if (page[5] != (char)i) wrong++;
        mprotect((void*)page, PAGE, PROT_NONE);
        if (!CATCHES((void)page[5])) wrong++;
        mprotect((void*)page, PAGE, PROT_READ | PROT_WRITE);
    }
    check(wrong == 0, "memory.mprotect", "%d wrong", wrong);
    munmap((void*)page, PAGE);
}

static void remapping(void) {
    volatile int wrong = 0;
    char* place = map_pages(1, PROT_READ | PROT_WRITE);
    for (int i = 0; i < 200; i++) {
        place[0] = 1;
        munmap(place, PAGE);
        if (!CATCHES((void)*(volatile char*)place)) wrong++;
        char* again =
            mmap(place, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (again != place || place[0] != 0) wrong++;
    }
    check(wrong == 0, "memory.munmap", "%d wrong", wrong);

    char* pages = map_pages(8, PROT_READ | PROT_WRITE);
    memset(pages, 0x5a, 8 * PAGE);
    char* moved = mremap(pages, 8 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    wrong = moved == MAP_FAILED;
    for (unsigned long i = 0; !wrong && i < 64 * PAGE; i++) wrong = moved[i] != (i < 8 * PAGE ? 0x5a : 0);
    check(!wrong, "memory.mremap", "wrong bytes");

    madvise(moved, 4 * PAGE, MADV_DONTNEED);
    check(moved[0] == 0 && moved[4 * PAGE] == 0x5a, "memory.dontneed", "%d %d", moved[0], moved[4 * PAGE]);
    munmap(moved, 64 * PAGE);
}

static void copy_on_write(void) {
    enum { Pages = 64 };
    uint64_t* memory = map_pages(Pages, PROT_READ | PROT_WRITE);
    for (unsigned i = 0; i < Pages * PAGE / 8; i++) memory[i] = i;
    volatile int wrong = 0;
    for (int round = 0; round < 20; round++) {
        const pid_t child = fork();
        if (child == 0) {
            for (unsigned i = 0; i < Pages * PAGE / 8; i += 64)
                if (memory[i] != i + (unsigned)round) _exit(1);
            for (unsigned i = 0; i < Pages * PAGE / 8; i += 64) memory[i] = ~0UL;
            _exit(memory[64] == ~0UL ? 0 : 2);
        }
        for (unsigned i = 0; i < Pages * PAGE / 8; i += 128) memory[i]++, memory[i]--;  // both write
        int status;
        waitpid(child, &status, 0);
        if (status != 0) wrong++;
        for (unsigned i = 0; i < Pages * PAGE / 8; i += 64) wrong += memory[i]++ != i + (unsigned)round;
    }
    check(wrong == 0, "memory.copy-on-write", "%d wrong", wrong);
    munmap(memory, Pages * PAGE);
}

static void shared(void) {
    const int file = memfd_create("shared", 0);
    if (file < 0 || ftruncate(file, 2 * PAGE) != 0) return skip("memory.shared", "no memfd");
    volatile uint64_t* one = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    volatile uint64_t* two = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    volatile uint64_t* own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    volatile int wrong = 0;
    for (unsigned i = 0; i < 512; i++) {
        one[i] = i * 3;
        wrong += two[i] != i * 3;
        two[i]++;
        wrong += one[i] != i * 3 + 1 || own[i] != i * 3 + 1;
    }
    check(wrong == 0, "memory.alias", "%d wrong", wrong);
    own[0] = 99;
    one[0] = 1;
    check(own[0] == 99 && two[0] == 1, "memory.private", "%lu %lu", own[0], two[0]);

    const pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 1000; i++) __atomic_add_fetch(one + 9, 1, __ATOMIC_SEQ_CST);
        _exit(0);
    }
    one[9] = one[9];
    for (int i = 0; i < 1000; i++) __atomic_add_fetch(two + 8, 1, __ATOMIC_SEQ_CST);
    wait(NULL);
    check(one[8] == 8 * 3 + 1 + 1000, "memory.shared-atomic", "%lu", one[8]);
    uint64_t word = 0;
    check(pread(file, &word, 8, 64) == 8 && word == one[8], "memory.shared-read", "%lu", word);
    close(file);
}

static void large(void) {
    const size_t size = 16UL << 20;
    char* memory = mmap(NULL, size + (2UL << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return skip("memory.large", "not enough memory");
    char* aligned = (char*)(((uint64_t)memory + (2UL << 20) - 1) & ~((2UL << 20) - 1));
    madvise(aligned, size, MADV_HUGEPAGE);
    for (size_t i = 0; i < size; i += 512) *(uint64_t*)(aligned + i) = i * 0x9e3779b97f4a7c15;
    mprotect(aligned + (3UL << 20), PAGE, PROT_READ);  // splits one of the large pages
    volatile int wrong = !CATCHES(*(volatile char*)(aligned + (3UL << 20)) = 1);
    for (size_t i = 0; i < size; i += 512) wrong += *(uint64_t*)(aligned + i) != i * 0x9e3779b97f4a7c15;
    if (fork() == 0) {
        for (size_t i = 0; i < size; i += PAGE)
            if (i != 3UL << 20) aligned[i] = 0;
        _exit(0);
    }
    int status = 1;
    wait(&status);
    for (size_t i = 0; i < size; i += 512) wrong += *(uint64_t*)(aligned + i) != i * 0x9e3779b97f4a7c15;
    check(wrong == 0 && status == 0, "memory.large", "%d wrong, status %#x", wrong, status);
    munmap(memory, size + (2UL << 20));
}

// Accesses of all sizes at all offsets around a page border: reads see what writes wrote.
static void crossing(void) {
    char* pages = map_pages(2, PROT_READ | PROT_WRITE);
    volatile int wrong = 0;
    for (unsigned long at = PAGE - 40; at < PAGE + 8; at++) {
        memset(pages + PAGE - 64, 0, 128);
        asm volatile("movq %1, %0" : "=m"(*(uint64_t*)(pages + at)) : "r"(0x1122334455667788 + at));
        wrong += pages[at] != (char)(0x88 + at) || pages[at + 7] != 0x11 || pages[at - 1] != 0 ||
                 pages[at + 8] != 0;
        asm volatile("movdqu %%xmm3, %0; pcmpeqd %%xmm3, %%xmm3; movdqu %%xmm3, %0"
                     : "=m"(*(char(*)[16])(pages + at))::"xmm3");
        wrong += pages[at] != -1 || pages[at + 15] != -1 || pages[at - 1] != 0 || pages[at + 16] != 0;
        asm volatile("lock addl $1, %0" : "+m"(*(uint32_t*)(pages + at)));
        wrong += *(volatile uint32_t*)(pages + at) != 0;
        uint16_t word = 0x4321;
        asm volatile("xchgw %0, %1" : "+r"(word), "+m"(*(uint16_t*)(pages + at)));
        wrong += word != 0 || pages[at + 1] != 0x43;
    }
    check(wrong == 0, "memory.crossing", "%d wrong", wrong);
    munmap(pages, 2 * PAGE);
}

int main(void) {
    on_signal(SIGSEGV, note_and_leave, 0);
    protections();
    remapping();
    copy_on_write();
    shared();
    large();
    crossing();
}
