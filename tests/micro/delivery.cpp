// SPDX-License-Identifier: Apache-2.0
// How exceptions are delivered: gates and their checks, IST and TSS stacks, alignment of the frame, flags in
// the handler, faults during delivery, double faults.
//
// Source: Intel SDM vol. 3A sections 6.12 to 6.15 (table 6-5), 7.7.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(call_85, AT "int 0x85\n nop");
FRAGMENT(undefined, AT "ud2");
FRAGMENT(divide, "mov ecx, 0\n" AT "div ecx");
FRAGMENT(touch, AT "mov rax, [rdi]");
FRAGMENT(int3_here, AT "int3");
FRAGMENT(return_flags, "int 0x86");

namespace {

constexpr u64 gate = 0x85;
constexpr u64 absent_stack = window + 0x800000;

u64 gate_low(u64 handler, u64 selector, u64 ist, u64 type, u64 dpl, u64 present) {
    return (handler & 0xffff) | selector << 16 | ist << 32 | type << 40 | dpl << 45 | present << 47 |
           (handler >> 16 & 0xffff) << 48;
}

// The vector's own entry, from its gate as the runtime made it.
u64 handler_of(u64 vector) {
    TableRegisterImage idt;
    asm volatile("sidt %0" : "=m"(idt));
    const u64* words = reinterpret_cast<const u64*>(idt.base + vector * 16);
    return (words[0] & 0xffff) | (words[0] >> 48) << 16 | words[1] << 32;
}

void stacks() {
    Registers in;
    const u64 odd = kernel_fragment_stack() - 13;
    in.rsp = odd;
    set_gate(gate, 1, 3);
    Outcome out = run(call_85, in);
    check_equal("IST: frame at the stack's top", out.frame_address, ist_top(1));
    check_equal("IST: old rsp in the frame", out.registers.rsp, odd);
    check_equal("SS in the frame", out.ss, Selector::KernelData);
    set_gate(gate, 5, 3);
    check_equal("IST 5", run(call_85, in).frame_address, ist_top(5));
    task_state.ist[4] = ist_top(5) - 5;
    check_equal("IST is aligned down", run(call_85, in).frame_address, ist_top(5) - 16);
    task_state.ist[4] = ist_top(5);

    set_gate(gate, 0, 3);
    out = run(call_85, in);
    check_equal("no IST, same ring: below the old rsp, aligned", out.frame_address, odd & ~15ull);
    check_equal("no IST, same ring: old rsp", out.registers.rsp, odd);
    out = run(call_85, {}, Ring::User);
    check_equal("no IST, from user mode: RSP0", out.frame_address, task_state.rsp[0]);
    check_equal("user SS in the frame", out.ss, Selector::UserData);
    check_equal("user CS in the frame", out.cs, Selector::UserCode);
    task_state.rsp[0] -= 3;
    check_equal("RSP0 is aligned down", run(call_85, {}, Ring::User).frame_address,
                (task_state.rsp[0] + 3) - 16);
    task_state.rsp[0] += 3;
}

void flags() {
    static volatile u64 inside;
    const auto look = [](Frame&) {
        u64 now;
        asm volatile("pushfq; pop %0" : "=r"(now));
        inside = now;
    };
    set_handler(0x86, look);
    constexpr u64 set = RFLAGS::Fixed | RFLAGS::IF | RFLAGS::AC | RFLAGS::ID | RFLAGS::CF | RFLAGS::IOPL;
    Registers in;
    in.rflags = set;
    set_gate(0x86, 1, 3, GateType::Interrupt);
    Outcome out = run(return_flags, in);
    check_equal("interrupt gate clears IF", inside & (RFLAGS::IF | RFLAGS::TF | RFLAGS::NT), 0);
    check_equal("AC stays", inside & RFLAGS::AC, RFLAGS::AC);
    check_equal("IRET restores all", out.registers.rflags, set);
    set_gate(0x86, 1, 3, GateType::Trap);
    out = run(return_flags, in, Ring::User);
    check_equal("trap gate keeps IF", inside & (RFLAGS::IF | RFLAGS::TF | RFLAGS::NT), RFLAGS::IF);
    check_equal("IRET restores IF and IOPL to user mode", out.registers.rflags, set);
    in.rflags = RFLAGS::Fixed | RFLAGS::NT;
    out = run(return_flags, in);
    check_equal("NT is cleared in the handler", inside & RFLAGS::NT, 0);
    check_equal("and comes back", out.registers.rflags, in.rflags);
    set_handler(0x86, nullptr);

    out = run(undefined);
    check_equal("RF is set in the frame of a fault", out.registers.rflags & RFLAGS::RF, RFLAGS::RF);
    out = run(call_85);
    check_equal("RF is clear in the frame of INT", out.registers.rflags & RFLAGS::RF, 0);
}

void gate_checks() {
    const u64 handler = handler_of(gate);
    const u64 high = handler >> 32;
    constexpr u64 error = gate * 8 + 2;
    const auto with = [&](const char* name, u64 low, Vector vector, u64 want) {
        set_gate_raw(gate, low, high);
        expect_trap(name, run(call_85), vector, want, call_85_at);
        expect_trap(name, run(call_85, {}, Ring::User), vector, want, call_85_at, Ring::User);
    };
    with("gate not present", gate_low(handler, 0x10, 1, 14, 3, 0), Vector::NP, error);
    with("gate of type task", gate_low(handler, 0x10, 1, 5, 3, 1), Vector::GP, error);
    with("gate of type call", gate_low(handler, 0x10, 1, 12, 3, 1), Vector::GP, error);
    with("gate with null selector", gate_low(handler, 0, 1, 14, 3, 1), Vector::GP, 0);
    with("gate to a data segment", gate_low(handler, 0x18, 1, 14, 3, 1), Vector::GP, 0x18);
    with("gate to 32-bit code", gate_low(handler, 0x20, 1, 14, 3, 1), Vector::GP, 0x20);
    with("gate beyond the GDT", gate_low(handler, 0x7f8, 1, 14, 3, 1), Vector::GP, 0x7f8);
    gdt[Selector::Spare / 8] = 0x00af9b000000ffff & ~(1ull << 47);
    with("gate to absent code", gate_low(handler, Selector::Spare, 1, 14, 3, 1), Vector::NP, Selector::Spare);
    set_gate_raw(gate, gate_low(handler, 0x10, 1, 14, 3, 1), 0x8000);
    expect_trap("handler not canonical", run(call_85), Vector::GP, 0, call_85_at);
    set_gate_raw(gate, gate_low(handler, 0x10, 1, 14, 0, 1), high);
    expect_done("DPL 0 gate from the kernel", [] {
        Outcome out = run(call_85);
        if (out.vector == gate) out.vector = done_vector;
        return out;
    }());
    expect_trap("DPL 0 gate from user mode", run(call_85, {}, Ring::User), Vector::GP, error, call_85_at,
                Ring::User);
    set_gate(gate, 1, 3);

    // The gates of exceptions: no DPL check, EXT in the error code.
    const u64 ud_handler = handler_of(6);
    set_gate_raw(6, gate_low(ud_handler, 0x10, 1, 14, 0, 0), ud_handler >> 32);
    expect_trap("gate of #UD not present", run(undefined), Vector::NP, 6 * 8 + 3, undefined_at);
    set_gate_raw(6, gate_low(ud_handler, 0x18, 1, 14, 0, 1), ud_handler >> 32);
    expect_trap("gate of #UD to data", run(undefined), Vector::GP, 0x18 + 1, undefined_at);
    set_gate(6, 1, 0);
    const u64 bp_handler = handler_of(3);
    set_gate_raw(3, gate_low(bp_handler, 0x10, 1, 14, 0, 1), bp_handler >> 32);
    expect_trap("int3 with DPL 0 gate", run(int3_here, {}, Ring::User), Vector::GP, 3 * 8 + 2, int3_here_at,
                Ring::User);
    set_gate(3, 1, 3);

    TableRegisterImage idt, small;
    asm volatile("sidt %0" : "=m"(idt));
    small = {static_cast<u16>(0x82 * 16 - 1), idt.base};
    lidt(small);
    expect_trap("vector beyond the IDT", run(call_85), Vector::GP, error, call_85_at);
    lidt(idt);
}

// A stack that the frame cannot be written to.
void bad_stacks() {
    Registers in;
    in.rsp = absent_stack + 64;
    set_gate(gate, 0, 3);
    Outcome out = run(call_85, in);
    expect_trap("absent stack: #PF", out, Vector::PF, PageFault::W, call_85_at);
    check("absent stack: address", out.cr2 >= absent_stack && out.cr2 < absent_stack + 64);
    check_equal("absent stack: rsp stays", out.registers.rsp, in.rsp);
    in.rsp = 0x0000800000000040;
    expect_trap("stack not canonical: #SS", run(call_85, in), Vector::SS, 0, call_85_at);
    set_gate(0, 0, 0);
    in.rsp = absent_stack + 64;
    expect_trap("#DE on an absent stack: #PF in turn", run(divide, in), Vector::PF, PageFault::W, divide_at);
    set_gate(0, 1, 0);

    const u64 rsp0 = task_state.rsp[0];
    task_state.rsp[0] = absent_stack + 256;
    out = run(call_85, {}, Ring::User);
    expect_trap("absent RSP0: a supervisor's #PF", out, Vector::PF, PageFault::W, call_85_at, Ring::User);
    task_state.rsp[0] = 0x0000800000000100;
    expect_trap("RSP0 not canonical: #SS", run(call_85, {}, Ring::User), Vector::SS, 0, call_85_at,
                Ring::User);
    task_state.rsp[0] = rsp0;
    task_state.ist[4] = 0x0000800000000100;
    set_gate(gate, 5, 3);
    expect_trap("IST not canonical: #SS", run(call_85), Vector::SS, 0, call_85_at);
    task_state.ist[4] = ist_top(5);

    // A TSS that ends before the IST: #TS (itself delivered without one).
    constexpr u64 available = 0x89ull << 40, type_mask = 0xffull << 40;
    const u64 descriptor = gdt[8];
    gdt[8] = (descriptor & ~type_mask & ~0xffffull) | available | 0x27;
    ltr(Selector::Tss);
    set_gate(static_cast<u64>(Vector::TS), 0, 0);
    expect_trap("IST beyond the TSS: #TS", run(call_85), Vector::TS, Selector::Tss, call_85_at);
    gdt[8] = (descriptor & ~type_mask) | available;
    ltr(Selector::Tss);
    set_gate(static_cast<u64>(Vector::TS), 1, 0);
}

// Table 6-5. The first exception's gate is broken so that its delivery raises the second.
void double_faults() {
    Registers in;
    in.rsp = absent_stack + 64;
    in.rdi = absent_stack + 0x1000;
    const auto double_fault = [](const char* name, const Outcome& out) {
        check_equal(name, out.vector, static_cast<u64>(Vector::DF));
        check_equal(name, out.error, 0);
        check_equal("double fault on its IST", out.frame_address, ist_top(3));
    };
    // The frame's RIP shows the stack: these come back by IST 3, so that nothing of theirs is lost.
    set_gate_raw(0, 0, 0);
    double_fault("contributory, contributory", run(divide));
    set_gate(0, 1, 0);
    set_gate_raw(14, 0, 0);
    double_fault("page fault, contributory", run(touch, in));
    set_gate(14, 0, 0);
    double_fault("page fault, page fault", run(touch, in));
    set_gate(14, 1, 0);
    set_gate(6, 0, 0);
    expect_trap("benign, page fault: the second", run(undefined, in), Vector::PF, PageFault::W, undefined_at);
    set_gate_raw(6, 0, 0);
    set_gate(6, 1, 0);
    set_gate_raw(13, 0, 0);
    set_gate_raw(gate, gate_low(0, 0x18, 1, 14, 3, 1), 0);
    double_fault("INT to a bad gate, #GP's own gate absent", run(call_85));
    set_gate(13, 1, 0);
    set_gate(gate, 1, 3);
}

}  // namespace

void micro_main() {
    stacks();
    flags();
    gate_checks();
    bad_stacks();
    double_faults();
}
