// SPDX-License-Identifier: Apache-2.0
// 32-bit things in a 64-bit process: system calls by int 0x80, and code in compatibility mode, which is
// entered through Linux's 32-bit code segment.

#include "result.h"

static long int80(long number, uint32_t one, uint32_t two, uint32_t three) {
    long result;
    asm volatile("int $0x80"
                 : "=a"(result)
                 : "0"(number), "b"(one), "c"(two), "d"(three)
                 : "memory", "r8", "r9", "r10", "r11");
    return result;
}

// In compatibility mode: adds 1..n with 32-bit instructions, by a 32-bit system call adds the process id, and
// far-returns.
extern char begin32[], end32[];
asm(".text; .code32\n"
    "begin32: push %ebx; mov %edi, %ecx; xor %edx, %edx\n"
    "1: add %ecx, %edx; dec %ecx; jnz 1b\n"
    "inc %edx; dec %edx\n"  // one-byte instructions, which in 64-bit mode are prefixes
    "push %edx; mov $20, %eax; int $0x80; pop %edx; add %edx, %eax\n"
    "pop %ebx; lret\n"
    "end32: .code64");

static void compatibility_mode(void) {
    uint8_t* low = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED) return skip("compat.mode", "no low memory");
    memcpy(low, begin32, (size_t)(end32 - begin32));
    static struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) far;
    far.offset = (uint32_t)(uintptr_t)low;
    far.selector = 0x23;
    uint64_t result = 0;
    uint8_t* stack = low + 4 * PAGE - 64;
    asm volatile("mov %%rsp, %%r12; mov %[stack], %%rsp; lcall *%[far]; mov %%r12, %%rsp"
                 : "=a"(result)
                 : [far] "m"(far), [stack] "r"(stack), "D"(1000UL)
                 : "rcx", "rdx", "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    check((uint32_t)result == 500500 + (uint32_t)getpid(), "compat.mode", "%lu", result);
}

int main(void) {
    check(int80(20, 0, 0, 0) == getpid(), "compat.int80", "%ld", int80(20, 0, 0, 0));
    int ends[2];
    char* low = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    char text[8] = "";
    if (low != MAP_FAILED && pipe(ends) == 0) {
        strcpy(low, "hello");
        const long written = int80(4, (uint32_t)ends[1], (uint32_t)(uintptr_t)low, 6);
        check(written == 6 && read(ends[0], text, 8) == 6 && strcmp(text, "hello") == 0, "compat.int80-write",
              "%ld", written);
    }
    compatibility_mode();
}
