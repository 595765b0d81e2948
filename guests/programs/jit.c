// SPDX-License-Identifier: Apache-2.0
// Code that writes code. x86 promises that a jump after the write is enough: no barrier, no system call.
// Also code in a page that another mapping writes, code that changes itself a few bytes ahead, code that
// crosses pages, and data beside code.

#include "result.h"

typedef uint32_t (*Code)(uint32_t);

// mov eax, value; add eax, edi; ret
static void emit(uint8_t* at, uint32_t value) {
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    memcpy(at + 5, "\x01\xf8\xc3", 3);
}

static Code code_at(const void* address) { return (Code)(uintptr_t)address; }

static void rewriting(void) {
    uint8_t* page = map_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        emit(page + 64, i);
        wrong += code_at(page + 64)(7) != i + 7;
    }
    check(wrong == 0, "jit.rewrite", "%u of 20000 calls ran old code", wrong);

    // One byte of an instruction that has been run often.
    wrong = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        page[65] = (uint8_t)i;
        wrong += (code_at(page + 64)(0) & 0xff) != (i & 0xff);
    }
    check(wrong == 0, "jit.patch", "%u of 5000", wrong);

    // Data beside code: writing it must not disturb, and must be seen.
    emit(page + 128, 3);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        *(volatile uint32_t*)(page + 2048) = i;
        sum += code_at(page + 128)(1) + *(volatile uint32_t*)(page + 2048) - i;
    }
    check(sum == 800000, "jit.data-beside", "%lu", sum);
    munmap(page, PAGE);
}

static void many_functions(void) {
    enum { Functions = 4096 };
    uint8_t* pages = map_pages(Functions * 16 / PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    uint32_t wrong = 0;
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < Functions; i++) emit(pages + i * 16, i * round);
        for (uint32_t i = 0; i < Functions; i++) wrong += code_at(pages + i * 16)(i) != i * round + i;
    }
    check(wrong == 0, "jit.many", "%u wrong", wrong);
    munmap(pages, Functions * 16);
}

static void two_mappings(void) {
    const int file = memfd_create("code", 0);
    if (file < 0 || ftruncate(file, PAGE) != 0) return skip("jit.two-mappings", "no memfd");
    uint8_t* writable = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uint8_t* executable = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        emit(writable, i);
        wrong += code_at(executable)(1) != i + 1;
    }
    check(wrong == 0, "jit.two-mappings", "%u of 5000", wrong);
    // The kernel writes, too: read() into code.
    int ends[2];
    if (pipe(ends) != 0) return;
    wrong = 0;
    for (uint32_t i = 0; i < 500; i++) {
        uint8_t text[8];
        emit(text, i * 3);
        if (write(ends[1], text, 8) != 8 || read(ends[0], writable, 8) != 8) wrong++;
        wrong += code_at(executable)(1) != i * 3 + 1;
    }
    check(wrong == 0, "jit.read-into", "%u of 500", wrong);
}

// A loop whose body rewrites an instruction of its own a few bytes further on, each time round.
static void inside_itself(void) {
    uint8_t* page = map_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
    static const uint8_t text[] = {
        0x31, 0xc0,                 // 0:  xor eax, eax
        0x8d, 0x0d, 0x05, 0, 0, 0,  // 2:  lea ecx, [rip+5]   (padding)
        0x89, 0x3d, 0x01, 0, 0, 0,  // 8:  mov [rip+1], edi    -> the immediate at 15
        0x05, 0,    0,    0, 0,     // 14: add eax, imm32
        0xff, 0xcf,                 // 19: dec edi
        0x75, 0xf1,                 // 21: jnz 8
        0xc3,                       // 23: ret
    };
    memcpy(page, text, sizeof text);
    const uint32_t sum = code_at(page)(1000);
    check(sum == 1000 * 1001 / 2, "jit.inside-itself", "%u", sum);
    munmap(page, PAGE);
}

static void across_pages(void) {
    uint8_t* pages = map_pages(3, PROT_READ | PROT_WRITE | PROT_EXEC);
    uint32_t wrong = 0;
    for (unsigned long at = PAGE - 9; at <= PAGE + 1; at++) {
        for (uint32_t i = 0; i < 100; i++) {
            emit(pages + at, i * 0x01010101);
            wrong += code_at(pages + at)(1) != i * 0x01010101 + 1;
        }
        if (at + 1 <= PAGE && PAGE <= at + 4) {
            pages[PAGE] = 0x55;  // a write to the second page alone, into the immediate
            uint32_t value;
            memcpy(&value, pages + at + 1, 4);
            wrong += code_at(pages + at)(0) != value;
        }
    }
    check(wrong == 0, "jit.across-pages", "%u wrong", wrong);

    // An instruction that crosses into a page which goes away, and comes back different.
    emit(pages + PAGE - 3, 0x11223344);
    wrong = code_at(pages + PAGE - 3)(0) != 0x11223344;
    mprotect(pages + PAGE, PAGE, PROT_NONE);
    wrong += !CATCHES(code_at(pages + PAGE - 3)(0)) || caught.address != (uint64_t)pages + PAGE ||
             caught.rip != (uint64_t)pages + PAGE - 3;
    mmap(pages + PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
         0);
    memcpy(pages + PAGE, "\x99\x99\x01\xf8\xc3", 5);
    wrong += code_at(pages + PAGE - 3)(0) != 0x99993344;
    check(wrong == 0, "jit.page-changes", "%u wrong", wrong);
    munmap(pages, 3 * PAGE);
}

// The same address with other code: unmapped and mapped again, and another file's page.
static void other_code_same_place(void) {
    uint8_t* page = map_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 300; i++) {
        emit(page, i);
        wrong += code_at(page)(0) != i;
        wrong += mmap(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                      -1, 0) != page;
    }
    check(wrong == 0, "jit.remap", "%u wrong", wrong);
    wrong = 0;
    for (uint32_t i = 0; i < 50; i++) {
        emit(page, i);
        const pid_t child = fork();
        if (child == 0) {
            wrong = code_at(page)(0) != i;
            emit(page, 1000 + i);  // its own copy
            _exit((int)(wrong + (code_at(page)(0) != 1000 + i)));
        }
        int status = 1;
        waitpid(child, &status, 0);
        wrong += status != 0 || code_at(page)(0) != i;
    }
    check(wrong == 0, "jit.fork", "%u wrong", wrong);
    munmap(page, PAGE);
}

int main(void) {
    on_signal(SIGSEGV, note_and_leave, 0);
    rewriting();
    many_functions();
    two_mappings();
    inside_itself();
    across_pages();
    other_code_same_place();
}
