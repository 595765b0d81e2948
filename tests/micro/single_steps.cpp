// SPDX-License-Identifier: Apache-2.0
// The trap flag across everything that changes control: INT, SYSCALL with and without TF in FMASK, IRET,
// faults, STI, watchpoints; what DR6 says, and what handlers see.
//
// Plain instructions, branches, POPF, REP and MOV SS: traps.cpp. Source: Intel SDM vol. 3B section 18.3.1.4.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(only_end, "");
FRAGMENT(call_system, "syscall\n" AT "nop");
FRAGMENT(push_flags, "pushfq\n" AT "pop rax");
FRAGMENT(interrupt_return, "iretq");
FRAGMENT(two_steps, "nop\n" AT "nop\n nop");
FRAGMENT(load, AT "mov rax, [rdi]");
FRAGMENT(store, "mov [rdi], rax\n" AT "nop");
FRAGMENT(enable, "sti\n" AT "cli");
FRAGMENT(jump_taken, "xor eax, eax\n jz 771f\n nop\n" AT "nop");
FRAGMENT(invalid, AT "ud2");
FRAGMENT(breakpoint, "int3\n" AT "nop");
FRAGMENT(clear_tf, "push 2\n popfq\n" AT "nop");
FRAGMENT(copy_flags, "lahf\n" AT "nop");

namespace {

constexpr u64 BS = 0x4000;
alignas(64) u64 memory[8];

Registers stepping() {
    Registers in;
    in.rflags |= RFLAGS::TF;
    in.rdi = address(memory);
    return in;
}

void steps_to(const char* name, const void* code, const void* at, Registers in, u64 dr6 = BS) {
    write_dr6(0);
    const Outcome out = run(code, in);
    expect_trap(name, out, Vector::DB, 0, at);
    check_equal(name, out.dr6 & 0xe00f, dr6);
    check_equal("the frame shows TF", out.registers.rflags & RFLAGS::TF, RFLAGS::TF);
    check_equal("and RF clear", out.registers.rflags & RFLAGS::RF, 0);
}

// A trap or fault comes first: no #DB, and TF in its frame.
void other_trap(const char* name, const void* code, u64 vector, Registers in) {
    write_dr6(0);
    const Outcome out = run(code, in);
    check_equal(name, out.vector, vector);
    check_equal("the frame shows TF", out.registers.rflags & RFLAGS::TF, RFLAGS::TF);
    check_equal("DR6 stays", out.dr6 & 0xe00f, 0);
}

void traps() {
    other_trap("int clears TF for its handler", only_end, done_vector, stepping());
    other_trap("int3", breakpoint, static_cast<u64>(Vector::BP), stepping());
    other_trap("ud2", invalid, static_cast<u64>(Vector::UD), stepping());
    Registers in = stepping();
    in.rdi = window;
    unmap(window);
    other_trap("a page fault", load, static_cast<u64>(Vector::PF), in);
}

void system_calls() {
    const u64 mask = rdmsr(Msr::IA32_FMASK);
    wrmsr(Msr::IA32_FMASK, mask | RFLAGS::TF);
    write_dr6(0);
    Outcome out = run(call_system, stepping(), Ring::User);
    check_equal("syscall that masks TF: no #DB", out.vector, syscall_vector);
    check_equal("syscall that masks TF: r11", out.registers.r11 & RFLAGS::TF, RFLAGS::TF);
    wrmsr(Msr::IA32_FMASK, mask & ~RFLAGS::TF);
    write_dr6(0);
    out = run(call_system, stepping(), Ring::User);
    check_equal("syscall that keeps TF: #DB", out.vector, static_cast<u64>(Vector::DB));
    check_equal("syscall that keeps TF: in the kernel", out.cs, Selector::KernelCode);
    check_equal("syscall that keeps TF: at LSTAR", out.registers.rip, rdmsr(Msr::IA32_LSTAR));
    wrmsr(Msr::IA32_FMASK, mask);
}

void interrupt_returns() {
    static u64 frame[5];
    frame[0] = address(two_steps), frame[1] = Selector::KernelCode, frame[2] = RFLAGS::Fixed | RFLAGS::TF;
    frame[3] = kernel_fragment_stack(), frame[4] = Selector::KernelData;
    Registers in;
    in.rsp = address(frame);
    steps_to("iret sets TF: after the next instruction", interrupt_return, two_steps_at, in);
}

void plain() {
    steps_to("pushf", push_flags, push_flags_at, stepping());
    write_dr6(0);
    steps_to("sti does not hold off #DB", enable, enable_at, stepping());
    steps_to("lahf", copy_flags, copy_flags_at, stepping());
    steps_to("store", store, store_at, stepping());
    // A whole run, handler and all.
    static u32 steps;
    steps = 0;
    set_handler(static_cast<u64>(Vector::DB), [](Frame&) { ++steps; });
    const Outcome out = run(jump_taken, stepping());
    check("single steps to the end", out.done());
    check_equal("one for each instruction", steps, 3);
    steps = 0;
    check("popf ends it", run(clear_tf, stepping()).done());
    check_equal("after the popf itself", steps, 2);
    set_handler(static_cast<u64>(Vector::DB), nullptr);
}

void with_watchpoint() {
    asm volatile("mov %0, %%dr0" ::"r"(address(memory)));
    asm volatile("mov %0, %%dr7" ::"r"(u64{0x400 | 2 | 0xdu << 16}));  // write, four bytes
    steps_to("single step and watchpoint at once", store, store_at, stepping(), BS | 1);
    asm volatile("mov %0, %%dr7" ::"r"(u64{0x400}));
    write_dr6(0x400f);
    const Outcome out = run(two_steps, stepping());
    check_equal("B0 to B3 are not kept over a #DB, BS is set", out.dr6 & BS, BS);
    write_dr6(0);
}

}  // namespace

void micro_main() {
    plain();
    traps();
    system_calls();
    interrupt_returns();
    with_watchpoint();
}
