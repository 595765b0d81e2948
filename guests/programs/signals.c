// SPDX-License-Identifier: Apache-2.0
// Processor exceptions as a program sees them: each as a signal, with the code, the address, the vector and
// the error code that real hardware and Linux produce. And what signal handlers and sigreturn preserve.

#include "result.h"

// expected: signal, si_code, si_addr, vector, error code
static void expect_caught(const char* name, bool left, int signal, int code, uint64_t address, uint64_t trap,
                          uint64_t error) {
    check(left && caught.signal == signal && caught.code == code && caught.address == address &&
              caught.trap == trap && caught.error == error,
          name, "signal %d code %d address %#lx trap %lu error %#lx; expected %d %d %#lx %lu %#lx",
          caught.signal, caught.code, caught.address, caught.trap, caught.error, signal, code, address, trap,
          error);
}

enum { KERNEL_CODE = 0x80 };  // SI_KERNEL: the kernel has nothing more to say

static void page_faults(void) {
    char* pages = map_pages(4, PROT_READ | PROT_WRITE);
    memset(pages, 0xc3, 4 * PAGE);
    mprotect(pages + PAGE, PAGE, PROT_READ);
    mprotect(pages + 2 * PAGE, PAGE, PROT_NONE);
    munmap(pages + 3 * PAGE, PAGE);
    const uint64_t read_only = (uint64_t)pages + PAGE + 123, none = (uint64_t)pages + 2 * PAGE + 8;
    const uint64_t unmapped = (uint64_t)pages + 3 * PAGE + 17;

    bool left = CATCHES(*(volatile char*)unmapped);
    expect_caught("signals.read-unmapped", left, SIGSEGV, SEGV_MAPERR, unmapped, 14, 4);
    left = CATCHES(*(volatile char*)unmapped = 1);
    expect_caught("signals.write-unmapped", left, SIGSEGV, SEGV_MAPERR, unmapped, 14, 6);
    left = CATCHES(*(volatile char*)read_only = 1);
    expect_caught("signals.write-read-only", left, SIGSEGV, SEGV_ACCERR, read_only, 14, 7);
    left = CATCHES(*(volatile char*)none);
    expect_caught("signals.read-none", left, SIGSEGV, SEGV_ACCERR, none, 14, 4);
    left = CATCHES(*(volatile char*)0xffffffff81000000);
    expect_caught("signals.read-kernel", left, SIGSEGV, SEGV_MAPERR, 0xffffffff81000000, 14, 5);
    left = CATCHES(((void (*)(void))(uintptr_t)pages)());
    expect_caught("signals.execute-data", left, SIGSEGV, SEGV_ACCERR, (uint64_t)pages, 14, 0x15);
    check(left && caught.rip == (uint64_t)pages, "signals.execute-data-rip", "rip %#lx", caught.rip);
    left = CATCHES(((void (*)(void))(uintptr_t)unmapped)());
    expect_caught("signals.execute-unmapped", left, SIGSEGV, SEGV_MAPERR, unmapped, 14, 0x14);

    // An access that begins on a good page and ends on a bad one faults with the bad page's address.
    left = CATCHES(*(volatile uint64_t*)(pages + 2 * PAGE - 3));
    expect_caught("signals.read-across", left, SIGSEGV, SEGV_ACCERR, (uint64_t)pages + 2 * PAGE, 14, 4);
    memset(pages, 1, PAGE);
    left = CATCHES(*(volatile uint64_t*)(pages + PAGE - 3) = 0);
    expect_caught("signals.write-across", left, SIGSEGV, SEGV_ACCERR, (uint64_t)pages + PAGE, 14, 7);
    check(pages[PAGE - 1] == 1 && pages[PAGE - 3] == 1, "signals.write-across-nothing",
          "the good page was written");
    munmap(pages, 3 * PAGE);
}

// A copy that runs into a bad page: the registers say how far it came, exactly.
static void string_progress(void) {
    char* target = map_pages(3, PROT_READ | PROT_WRITE);
    char* source = map_pages(3, PROT_READ | PROT_WRITE);
    const uint64_t border = (uint64_t)target + 2 * PAGE;
    mprotect(target + 2 * PAGE, PAGE, PROT_NONE);
    memset(source, 7, 3 * PAGE);
    const uint64_t count = 3 * PAGE - 100;
    bool left = CATCHES(asm volatile("rep movsb" ::"c"(count), "D"(target + 100), "S"(source) : "memory"));
    expect_caught("signals.rep-movs", left, SIGSEGV, SEGV_ACCERR, border, 14, 6);
    check(caught.rcx == PAGE && caught.rdi == border && caught.rsi == (uint64_t)source + 2 * PAGE - 100,
          "signals.rep-movs-registers", "rcx %#lx rdi %#lx rsi %#lx", caught.rcx, caught.rdi, caught.rsi);
    check(target[2 * PAGE - 1] == 7 && target[99] == 0, "signals.rep-movs-memory", "wrong bytes");

    mprotect(source, PAGE, PROT_READ);
    left = CATCHES(asm volatile("std; rep stosq; cld" ::"c"(PAGE), "D"(source + 2 * PAGE), "a"(1L)
                                : "memory"));
    check(left && caught.rdi == (uint64_t)source + PAGE - 8 && (caught.flags & 0x400) != 0,
          "signals.rep-stos-down", "rdi %#lx flags %#lx", caught.rdi, caught.flags);
    munmap(target, 3 * PAGE);
    munmap(source, 3 * PAGE);
}

static void protection_faults(void) {
    bool left = CATCHES(*(volatile char*)0x8000000000000000);
    expect_caught("signals.noncanonical", left, SIGSEGV, KERNEL_CODE, 0, 13, 0);
    left = CATCHES(asm volatile("hlt"));
    expect_caught("signals.privileged", left, SIGSEGV, KERNEL_CODE, 0, 13, 0);
    left = CATCHES(asm volatile("cli"));
    expect_caught("signals.cli", left, SIGSEGV, KERNEL_CODE, 0, 13, 0);
    left = CATCHES(asm volatile("inb $0x80, %%al" ::: "rax"));
    expect_caught("signals.port", left, SIGSEGV, KERNEL_CODE, 0, 13, 0);
    left = CATCHES(asm volatile("mov %%cr3, %%rax" ::: "rax"));
    expect_caught("signals.control-register", left, SIGSEGV, KERNEL_CODE, 0, 13, 0);
    left = CATCHES(asm volatile("mov %0, %%ds" ::"r"(0x4b)));
    expect_caught("signals.bad-selector", left, SIGSEGV, KERNEL_CODE, 0, 13, 0x48);
    left = CATCHES(asm volatile("int $0x90"));
    expect_caught("signals.int-gate", left, SIGSEGV, KERNEL_CODE, 0, 13, 0x90 * 8 + 2);
    _Alignas(32) static char memory[64];
    left = CATCHES(asm volatile("movaps %0, %%xmm0" ::"m"(memory[1]) : "xmm0"));
    expect_caught("signals.unaligned-sse", left, SIGSEGV, KERNEL_CODE, 0, 13, 0);
}

extern char divide_here[], wrap_here[], invalid_here[], float_here[], x87_here[];

static void arithmetic(void) {
    volatile int zero = 0;
    bool left = CATCHES(asm volatile("divide_here: idivl %0" ::"r"(zero), "a"(1), "d"(0)));
    expect_caught("signals.divide-by-zero", left, SIGFPE, FPE_INTDIV, (uint64_t)divide_here, 0, 0);
    check(left && caught.rip == (uint64_t)divide_here, "signals.divide-rip", "rip %#lx", caught.rip);
    left = CATCHES(asm volatile("wrap_here: idivl %0" ::"r"(-1), "a"(INT32_MIN), "d"(-1)));
    expect_caught("signals.divide-overflow", left, SIGFPE, FPE_INTDIV, (uint64_t)wrap_here, 0, 0);

    uint32_t normal = 0x1f80, strict = 0x1f80 & ~0x200U;  // the divide-by-zero mask of MXCSR
    left = CATCHES(asm volatile(
        "ldmxcsr %0; movss %1, %%xmm0; xorps %%xmm1, %%xmm1\n float_here: divss %%xmm1, %%xmm0" ::"m"(strict),
        "m"((float){1.0f})
        : "xmm0", "xmm1"));
    asm volatile("ldmxcsr %0" ::"m"(normal));
    expect_caught("signals.sse-divide", left, SIGFPE, FPE_FLTDIV, (uint64_t)float_here, 19, 0);

    // x87 reports at the next waiting instruction.
    uint16_t control = 0x37f & ~4U, usual = 0x37f;
    left = CATCHES(asm volatile("fldcw %0; fld1; fldz; fdivrp; x87_here: fwait" ::"m"(control)));
    asm volatile("fninit; fldcw %0" ::"m"(usual));
    check(left && caught.signal == SIGFPE && caught.code == FPE_FLTDIV && caught.trap == 16,
          "signals.x87-divide", "signal %d code %d trap %lu", caught.signal, caught.code, caught.trap);
}

static void invalid_and_breakpoint(void) {
    bool left = CATCHES(asm volatile("invalid_here: ud2"));
    expect_caught("signals.invalid", left, SIGILL, ILL_ILLOPN, (uint64_t)invalid_here, 6, 0);
    left = CATCHES(asm volatile(".byte 0x06"));  // push es, which 64-bit mode has not
    check(left && caught.signal == SIGILL && caught.code == ILL_ILLOPN, "signals.invalid-64",
          "signal %d code %d", caught.signal, caught.code);
    left = CATCHES(asm volatile("lock; .byte 0x90; nop"));
    check(left && caught.signal == SIGILL, "signals.lock-nop", "signal %d", caught.signal);

    extern char after_int3[];
    on_signal(SIGTRAP, note_signal, 0);
    memset((void*)&caught, 0, sizeof caught);
    asm volatile("int3; after_int3:");
    check(caught.signal == SIGTRAP && caught.code == KERNEL_CODE && caught.rip == (uint64_t)after_int3 &&
              caught.trap == 3,
          "signals.int3", "signal %d code %d trap %lu", caught.signal, caught.code, caught.trap);
}

// The flags that a handler sees are those at the instruction, even where the program is about to overwrite
// them.
static void flags(void) {
    enum { Carry = 1, Sign = 0x80, Overflow = 0x800, All = 0x8d5 };
    bool left = CATCHES(asm volatile("mov $0x7fffffff, %%eax; add $1, %%eax; ud2" ::: "rax", "cc"));
    check(left && (caught.flags & All) == (Sign | Overflow | 0x14), "signals.flags-invalid", "flags %#lx",
          caught.flags);
    left = CATCHES(asm volatile("xor %%ecx, %%ecx; stc; movb (%0), %%al; xor %%eax, %%eax" ::"r"(8L)
                                : "rax", "rcx", "cc"));
    check(left && (caught.flags & All) == (Carry | 0x44), "signals.flags-fault", "flags %#lx", caught.flags);
    on_signal(SIGTRAP, note_signal, 0);
    asm volatile("xor %%ecx, %%ecx; stc; int3; add $1, %%ecx" ::: "rcx", "cc");
    check((caught.flags & All) == (Carry | 0x44), "signals.flags-int3", "flags %#lx", caught.flags);
    uint8_t carry = 0;
    asm volatile("stc; int3; setc %0" : "=r"(carry)::"cc");
    check(carry == 1, "signals.flags-back", "carry %d", carry);
}

static void bus_error(void) {
    FILE* file = tmpfile();
    if (file == NULL || ftruncate(fileno(file), 100) != 0) return skip("signals.bus", "no temporary file");
    char* memory = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fileno(file), 0);
    bool left = CATCHES(*(volatile char*)(memory + PAGE));
    check(left && caught.signal == SIGBUS && caught.code == BUS_ADRERR &&
              caught.address == (uint64_t)memory + PAGE,
          "signals.bus", "signal %d code %d", caught.signal, caught.code);
    check(memory[0] == 0, "signals.bus-good-page", "not zero");
    fclose(file);
}

int main(void) {
    on_signal(SIGSEGV, note_and_leave, 0);
    on_signal(SIGFPE, note_and_leave, 0);
    on_signal(SIGILL, note_and_leave, 0);
    on_signal(SIGBUS, note_and_leave, 0);
    page_faults();
    string_progress();
    protection_faults();
    arithmetic();
    invalid_and_breakpoint();
    flags();
    bus_error();
}
