// SPDX-License-Identifier: Apache-2.0
// Many of everything that is not straight code: traps, page faults, system calls, interrupts, flushes,
// remaps, rewrites. Nothing may be lost or leak, however often. Prints cycles for each, for information.

#include "runtime/apic.hpp"
#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(interrupts, "1: int 0x82\n dec rcx\n jnz 1b");
FRAGMENT(divisions, "mov r8, rcx\n mov ebx, 0\n 1: mov edx, 0\n mov eax, 7\n div ebx\n dec r8\n jnz 1b");
FRAGMENT(faults, "1: mov [rdi], rcx\n add rdi, 4096\n dec rcx\n jnz 1b");
FRAGMENT(flushes, "mov rax, cr3\n 1: mov cr3, rax\n add rdx, [rdi]\n add rdx, [rsi]\n dec rcx\n jnz 1b");
FRAGMENT(invalidations, "1: invlpg [rdi]\n add rdx, [rdi]\n dec rcx\n jnz 1b");
FRAGMENT(rewrites,
         "lea rdi, [rip + 2f + 1]\n 1: mov [rdi], cl\n 2: mov al, 0\n cmp al, cl\n jne 3f\n dec rcx\n jnz "
         "1b\n 3:");
FRAGMENT(self_interrupts,
         "mov esi, 0xfee00300\n sti\n 1: mov dword ptr [rsi], 0x44061\n dec rcx\n jnz 1b\n nop\n cli");
FRAGMENT(port_reads, "mov edx, 0x3fd\n 1: in al, dx\n dec rcx\n jnz 1b");
FRAGMENT(random_loads,
         "1: imul rdx, rdx, 1103515245\n add rdx, 12345\n mov rax, rdx\n shr rax, 8\n and eax, 0xfff000\n "
         "add r8, [rdi + rax]\n dec rcx\n jnz 1b");
FRAGMENT(identify, "mov r8, rcx\n 1: mov eax, 0\n cpuid\n dec r8\n jnz 1b");

namespace {

volatile u64 count;

void flood(const char* name, const void* code, u64 times, u64 want_count, Registers in = {}) {
    in.rcx = times;
    count = 0;
    const u64 start = rdtsc();
    const Outcome out = run(code, in);
    const u64 cycles = (rdtsc() - start) / times;
    print_line("# ", name, ": cycles each ", cycles);
    check(name, out.done() && count == want_count);
}

constexpr u64 area = window, area_pages = 4096;

void system_calls() {
    // The handler goes straight back by SYSRET's equal, IRET: see vectors.S.
    static char code[64];
    const u8 bytes[] = {0x49, 0x89, 0xc8, 0x0f, 0x05, 0x49, 0xff,
                        0xc8, 0x75, 0xf9, 0xcd, 0x81};  // mov r8, rcx; 1: syscall; dec r8; jnz 1b; int 0x81
    for (unsigned i = 0; i < sizeof bytes; ++i) code[i] = static_cast<char>(bytes[i]);
    Registers in;
    in.rcx = 30'000;
    count = 0;
    const u64 start = rdtsc();
    const Outcome out = run(code, in, Ring::User);
    print_line("# system calls: cycles each ", (rdtsc() - start) / in.rcx);
    check("system calls", out.done() && count == in.rcx);
}

}  // namespace

void micro_main() {
    set_handler(0x82, [](Frame&) { count = count + 1; });
    set_handler(syscall_vector, [](Frame&) { count = count + 1; });
    set_handler(static_cast<u64>(Vector::DE), [](Frame& frame) {
        count = count + 1;
        frame.rip += 2;
    });
    static u8* page = allocate_page();
    set_handler(static_cast<u64>(Vector::PF), [](Frame&) {
        count = count + 1;
        entry(read_cr2()) = address(page) | kernel_page;
    });
    set_handler(0x61, [](Frame&) {
        count = count + 1;
        end_of_interrupt();
    });
    start_apic();
    Registers in;
    in.rdi = area, in.rsi = area + 4096 * 9;
    flood("software interrupts", interrupts, 30'000, 30'000);
    flood("divide errors", divisions, 30'000, 30'000);
    flood("page faults", faults, area_pages, area_pages, in);
    flood("CR3 writes", flushes, 30'000, 0, in);
    flood("invlpg", invalidations, 50'000, 0, in);
    flood("rewrites of the next instruction", rewrites, 255, 0);
    flood("self-IPIs", self_interrupts, 20'000, 20'000);
    flood("port reads", port_reads, 50'000, 0);
    flood("CPUID", identify, 20'000, 0);
    flood("loads from 16 MiB at random", random_loads, 200'000, 0, in);
    system_calls();
}
