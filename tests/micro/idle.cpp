// SPDX-License-Identifier: Apache-2.0
// Guests that idle without HLT: the loop that does nothing, loops that poll memory until an interrupt's
// handler changes it, delays by the time-stamp counter. However the monitor lets them wait, their interrupts
// come, their registers stay as they were, and they go on when there is something to do.

#include "runtime/apic.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(nothing, "1: jmp 1b");
FRAGMENT(nothing_but_pause, "1: pause\n jmp 1b");
FRAGMENT(far_and_back, "1: jmp 2f\n nop\n 2: lfence\n jmp 1b");
FRAGMENT(poll, "1: cmp dword ptr [rdi], 0\n je 1b");
FRAGMENT(poll_and_pause, "jmp 2f\n 1: pause\n 2: mov eax, [rdi]\n test eax, eax\n je 1b");
FRAGMENT(poll_in_two_blocks, "1: cmp byte ptr [rdi], 0\n jne 2f\n pause\n jmp 1b\n 2:");
FRAGMENT(poll_by_homes, "mov r10, rdi\n xor r11d, r11d\n 1: mov r9, [r10 + r11]\n test r9d, r9d\n je 1b");
FRAGMENT(poll_across_pages, "lea rbx, [rdi - 3]\n 1: cmp dword ptr [rbx], 0\n je 1b");
// while (!need_resched()) cpu_relax();
FRAGMENT(kernel_idle,
         "mov [rsi], rdi\n 1: mov rax, [rsi]\n test byte ptr [rax], 1\n jne 2f\n pause\n jmp 1b\n 2:");
// The carry flag goes round and is looked at after the loop.
FRAGMENT(poll_with_carry, "stc\n 1: mov ecx, [rdi]\n jecxz 1b\n setc dl");
// Not the same again: counts, and changes memory.
FRAGMENT(counts, "xor ebx, ebx\n 1: inc rbx\n cmp dword ptr [rdi], 0\n je 1b");
FRAGMENT(counts_in_memory, "1: inc qword ptr [rsi]\n pause\n cmp dword ptr [rdi], 0\n je 1b");
FRAGMENT(delay, "rdtscp\n mov ebx, eax\n 1: pause\n rdtscp\n sub eax, ebx\n cmp eax, 3000000\n jb 1b");

namespace {

constexpr u64 vector = 0x40;
constexpr u64 interrupts_wanted = 8;
alignas(4096) u8 pages[2 * 4096];
volatile u32& word = *reinterpret_cast<volatile u32*>(pages + 4096);
u64 scratch;
volatile u64 count = 0;
u64 inside = 0;
u64 begin = 0, end = 0;
u64 escape_to = 0;

// Counts the interrupts that come within the loop; the last one ends it.
void tick(Frame& frame) {
    apic_write(ApicRegister::EndOfInterrupt, 0);
    count = count + 1;
    if (frame.rip >= begin && frame.rip <= end) ++inside;
    if (count != interrupts_wanted) return;
    apic_write(ApicRegister::InitialCount, 0);
    word = 1;
    if (escape_to != 0) frame.rip = escape_to;
}

Outcome wait(const void* code, Ring ring, u32 period) {
    const u64 shift = ring == Ring::User ? user_alias : 0;
    Registers in;
    for (unsigned i = 0; i < 15; ++i) in.general(i) = 0x9e3779b97f4a7c15 * (i + 1ull);
    in.rdi = address(pages + 4096) + shift, in.rsi = address(&scratch) + shift;
    in.rflags |= RFLAGS::IF;
    word = 0;
    count = 0;
    inside = 0;
    begin = address(code) + shift;
    end = begin + 64;
    apic_write(ApicRegister::LvtTimer, timer_periodic | vector);
    apic_write(ApicRegister::InitialCount, period);
    return run(code, in, ring);
}

// Interrupts come soon after each other, and so late that the monitor has noticed how the guest waits.
void all_ways(const char* name, const void* code, u64 escape = 0) {
    for (const Ring ring : {Ring::Kernel, Ring::User}) {
        for (const u32 period : {50'000u, 500'000u}) {
            escape_to = escape == 0 ? 0 : escape + (ring == Ring::User ? user_alias : 0);
            const Outcome out = wait(code, ring, period);
            expect_done(name, out);
            check(name, inside >= interrupts_wanted - 1);
            check_equal(name, out.registers.rbp, 0x9e3779b97f4a7c15 * 11);
        }
    }
}

}  // namespace

void micro_main() {
    start_apic();
    apic_write(ApicRegister::DivideConfiguration, 0xb);
    set_handler(vector, tick);
    all_ways("nothing", nothing, address(nothing) + 2);
    all_ways("nothing but pause", nothing_but_pause, address(nothing_but_pause) + 4);
    all_ways("far and back", far_and_back, address(nothing) + 2);
    all_ways("poll", poll);
    all_ways("poll and pause", poll_and_pause);
    all_ways("poll in two blocks", poll_in_two_blocks);
    all_ways("poll by homes", poll_by_homes);
    all_ways("poll across pages", poll_across_pages);
    all_ways("kernel's idle loop", kernel_idle);
    all_ways("counts in memory", counts_in_memory);
    check_equal("carry of the loop", wait(poll_with_carry, Ring::Kernel, 500'000).registers.rdx & 0xff, 1);
    const u64 counted = wait(counts, Ring::Kernel, 500'000).registers.rbx;
    check("counts", counted > interrupts_wanted);
    const u64 before = rdtsc();
    run(delay);
    check("delay by the time-stamp counter", rdtsc() - before >= 3'000'000);
}
