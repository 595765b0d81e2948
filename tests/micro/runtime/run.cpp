// SPDX-License-Identifier: Apache-2.0
// Descriptor tables, trap dispatch, and entering and leaving fragments.

#include "runtime/run.hpp"

#include "runtime/power.hpp"

extern "C" {
void enter_fragment(const micro::Registers* registers, micro::u64 cs, micro::u64 ss);
[[noreturn]] void leave_fragment();
void trap_dispatch(micro::Frame* frame);
void syscall_entry();
extern char vector_stubs[];
}

namespace micro {

u64 gdt[32];
alignas(16) TaskState task_state;

namespace {

constexpr std::size_t stack_size = 16384;
struct alignas(4096) Stack {
    u8 bytes[stack_size];
};
Stack ist_stacks[7];
Stack kernel_stack;
Stack user_stack;
Stack rsp0_stack;

struct IdtGate {
    u64 low, high;
};
alignas(4096) IdtGate idt[256];
Handler handlers[257];

volatile bool armed = false;
Outcome last_outcome;

u64 top(Stack& stack) { return reinterpret_cast<u64>(&stack) + stack_size; }

}  // namespace

u64 ist_top(unsigned ist) { return top(ist_stacks[ist - 1]); }
u64 kernel_fragment_stack() { return top(kernel_stack) - 256; }
u64 user_fragment_stack() { return top(user_stack) - 256 + user_alias; }

void set_handler(u64 vector, Handler handler) { handlers[vector] = handler; }

void set_gate_raw(u64 vector, u64 low, u64 high) {
    idt[vector].low = low;
    idt[vector].high = high;
}

void set_gate(u64 vector, unsigned ist, unsigned dpl, GateType type) {
    const u64 entry = address(vector_stubs) + vector * 16;
    const u64 low = (entry & 0xffff) | u64{Selector::KernelCode} << 16 | u64{ist} << 32 |
                    u64{static_cast<u8>(type)} << 40 | u64{dpl} << 45 | 1ull << 47 |
                    (entry >> 16 & 0xffff) << 48;
    set_gate_raw(vector, low, entry >> 32);
}

TableRegisterImage idt_register() { return {sizeof idt - 1, address(idt)}; }

void set_up_processor() {
    gdt[2] = 0x00af9b000000ffff;
    gdt[3] = 0x00cf93000000ffff;
    gdt[4] = 0x00cffb000000ffff;
    gdt[5] = 0x00cff3000000ffff;
    gdt[6] = 0x00affb000000ffff;
    const u64 tss = address(&task_state);
    const u64 tss_limit = sizeof(TaskState) - 1;
    gdt[8] = (tss_limit & 0xffff) | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
    gdt[9] = tss >> 32;
    lgdt({sizeof gdt - 1, address(gdt)});

    task_state.rsp[0] = top(rsp0_stack);
    for (unsigned ist = 1; ist <= 7; ++ist) task_state.ist[ist - 1] = ist_top(ist);
    task_state.io_map_base = sizeof(TaskState);  // beyond the limit: no port for CPL 3
    ltr(Selector::Tss);
    asm volatile("lldt %w0" ::"r"(0));

    for (u64 vector = 0; vector < 256; ++vector) set_gate(vector, 1, 0);
    set_gate(static_cast<u64>(Vector::BP), 1, 3);
    set_gate(static_cast<u64>(Vector::OF), 1, 3);
    set_gate(static_cast<u64>(Vector::NMI), 2, 0);
    set_gate(static_cast<u64>(Vector::DF), 3, 0);
    for (u64 vector = 0x80; vector < 0x90; ++vector) set_gate(vector, 1, 3);
    lidt(idt_register());

    write_cr0(CR0::PG | CR0::WP | CR0::NE | CR0::ET | CR0::MP | CR0::PE);
    write_cr4(CR4::PAE | CR4::PGE | CR4::OSFXSR | CR4::OSXMMEXCPT | CR4::DE);
    wrmsr(Msr::IA32_EFER, EFER::LMA | EFER::LME | EFER::NXE | EFER::SCE);
    wrmsr(Msr::IA32_STAR, u64{Selector::KernelCode} << 32 | u64{Selector::UserCode32} << 48);
    wrmsr(Msr::IA32_LSTAR, reinterpret_cast<u64>(&syscall_entry));
    wrmsr(Msr::IA32_FMASK, RFLAGS::IF | RFLAGS::DF | RFLAGS::TF | RFLAGS::AC | RFLAGS::NT);
    asm volatile("fninit" ::: "memory");
    enable_avx();
    if ((cpuid(7).ebx & 1) != 0) write_cr4(read_cr4() | CR4::FSGSBASE);
}

Outcome run(const void* code, Registers registers, Ring ring) {
    const bool kernel = ring == Ring::Kernel;
    registers.rip = address(code);
    if (ring == Ring::User) registers.rip += user_alias;
    if (registers.rsp == 0) registers.rsp = kernel ? kernel_fragment_stack() : user_fragment_stack();
    const u16 cs = kernel               ? Selector::KernelCode
                   : ring == Ring::User ? Selector::UserCode
                                        : Selector::UserCode32;
    // Data segments of DPL 0 would be lost on the way to CPL 3; 32-bit code needs real ones.
    asm volatile("mov %0, %%ds; mov %0, %%es" ::"r"(kernel ? 0 : u64{Selector::UserData}));
    // As programs run, so that they may be executed directly; unless somebody has set flags.
    if (ring == Ring::User && registers.rflags == RFLAGS::Fixed) registers.rflags |= RFLAGS::IF;
    armed = true;
    enter_fragment(&registers, cs, kernel ? Selector::KernelData : Selector::UserData);
    return last_outcome;
}

void enable_avx() {
    write_cr4(read_cr4() | CR4::OSXSAVE);
    asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
}

void clear_vectors() {
    if (read_cr4() & CR4::OSXSAVE) {
        asm volatile("vzeroall" ::: "memory");
        return;
    }
    asm volatile(
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "pxor %%xmm\\n, %%xmm\\n\n"
        ".endr" ::
            : "memory");
}

bool same_registers(const Registers& a, const Registers& b) {
    for (unsigned i = 0; i < 16; ++i)
        if (a.general(i) != b.general(i)) return false;
    return true;
}

void expect_done(const char* name, const Outcome& outcome) {
    if (outcome.done()) return check(name, true);
    print_line("FAIL ", name, " got vector ", outcome.vector, " error ", outcome.error, " rip ",
               outcome.registers.rip, " cr2 ", outcome.cr2);
}

void expect_trap(const char* name, const Outcome& outcome, Vector vector, u64 error, const void* rip,
                 Ring ring) {
    const u64 want_rip = address(rip) + (ring == Ring::User ? user_alias : 0);
    const bool holds = outcome.vector == static_cast<u64>(vector) && outcome.error == error &&
                       outcome.registers.rip == want_rip &&
                       (outcome.cs & 3) == (ring == Ring::Kernel ? 0 : 3);
    if (holds) return check(name, true);
    print_line("FAIL ", name, " got vector ", outcome.vector, " error ", outcome.error, " rip ",
               outcome.registers.rip, " cs ", outcome.cs, " want vector ", static_cast<u64>(vector),
               " error ", error, " rip ", want_rip);
}

void expect_page_fault(const char* name, const Outcome& outcome, u64 error, u64 cr2, const void* rip,
                       Ring ring) {
    if (outcome.vector == static_cast<u64>(Vector::PF) && outcome.cr2 != cr2)
        return print_line("FAIL ", name, " got cr2 ", outcome.cr2, " want ", cr2, " error ", outcome.error);
    expect_trap(name, outcome, Vector::PF, error, rip, ring);
}

}  // namespace micro

void trap_dispatch(micro::Frame* frame) {
    using namespace micro;
    if (Handler handler = handlers[frame->vector]) return handler(*frame);
    if (!armed) {
        print_line("FAIL unexpected vector ", frame->vector, " error ", frame->error, " rip ", frame->rip,
                   " rsp ", frame->rsp, " cr2 ", read_cr2());
        power_off();
    }
    armed = false;
    Outcome& outcome = last_outcome;
    outcome.vector = frame->vector;
    outcome.error = frame->error;
    outcome.cs = frame->cs;
    outcome.ss = frame->ss;
    outcome.cr2 = read_cr2();
    outcome.dr6 = read_dr6();
    outcome.frame_address = reinterpret_cast<u64>(frame + 1);
    for (unsigned i = 0; i < 15; ++i) outcome.registers.general(i) = frame->gpr[i];
    outcome.registers.rsp = frame->rsp;
    outcome.registers.rip = frame->rip;
    outcome.registers.rflags = frame->rflags;
    leave_fragment();
}
