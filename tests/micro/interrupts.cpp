// SPDX-License-Identifier: Apache-2.0
// Interrupts and the processor: when they are taken (shadows of STI, HLT, POPF, IRET, CR8), that tight loops
// and long strings stay interruptible, that interrupted code notices nothing, NMI and its blocking.
//
// The local APIC's own registers and timers: apic.cpp. Source: Intel SDM vol. 3A sections 6.7, 6.8, 11.8.

#include "runtime/apic.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(sti_shadow, "sti\n nop\n" AT "nop\n nop\n cli");
FRAGMENT(sti_cli, "mov ecx, 100\n 1: sti\n cli\n dec ecx\n jnz 1b");
FRAGMENT(sti_sti, "sti\n sti\n" AT "nop\n cli");
FRAGMENT(sti_halt, "sti\n hlt\n" AT "nop\n cli");
FRAGMENT(sti_return,
         "mov ecx, 50\n 1: call 2f\n cli\n inc rdx\n dec ecx\n jnz 1b\n jmp 3f\n 2: sti\n ret\n 3:");
FRAGMENT(sti_jump, "sti\n jmp 1f\n nop\n 1: " AT "nop\n cli");
FRAGMENT(sti_load, "sti\n mov rax, [rsp]\n" AT "nop\n cli");
FRAGMENT(popf_enables, "push 0x202\n popfq\n" AT "nop\n cli");
FRAGMENT(iret_enables,
         "mov rax, rsp\n push 0x18\n push rax\n push 0x202\n push 0x10\n lea rbx, [rip + 771f]\n push rbx\n "
         "iretq\n" AT "nop\n cli");
FRAGMENT(cr8_lowers, "mov eax, 0\n mov cr8, rax\n" AT "nop\n cli");
FRAGMENT(stack_switches, AT "1: mov ss, ecx\n inc rax\n jmp 1b");
FRAGMENT(tight_loop, "1: jmp 1b");
FRAGMENT(two_block_loop, "1: inc rax\n jmp 2f\n nop\n 2: cmp rax, -1\n jne 1b");
FRAGMENT(memory_loop, "1: inc qword ptr [rsp - 64]\n add r10, r11\n test r12, r12\n jz 1b");
FRAGMENT(call_loop, "1: call 2f\n jmp 1b\n 2: ret");
FRAGMENT(indirect_loop, "lea rax, [rip + 1f]\n 1: jmp rax");
FRAGMENT(spin_on_memory, "1: pause\n cmp dword ptr [rdi], 0\n je 1b");
FRAGMENT(long_string, "cld\n rep stosb");
FRAGMENT(mixing,
         "1: mov rax, rcx\n imul rax, rbx\n rol rax, 17\n xor rdx, rax\n adc rsi, rdx\n push rsi\n xor [rsp "
         "- 8], rdi\n pop rdi\n"
         "lea r10, [r10 + r11*4 + 5]\n xor r11, rdi\n sbb r12, r10\n cmp r12, rsi\n setb r13b\n cmovo r14, "
         "r12\n add r15, r14\n"
         "rcl r15, 3\n movq xmm0, r15\n paddq xmm1, xmm0\n pshufd xmm1, xmm1, 0x93\n movq r8, xmm1\n xor r9, "
         "r8\n dec rcx\n jnz 1b");

namespace {

volatile u32 count = 0;
volatile u64 taken_at = 0;
volatile u32 depth = 0, deepest = 0;
volatile bool send_again = false;

void note(Frame& frame) {
    count = count + 1;
    taken_at = frame.rip;
    end_of_interrupt();
}

// Leaves a loop that has no end of its own: on to the INT after its fragment.
u64 escape_to = 0;
void escape(Frame& frame) {
    note(frame);
    frame.rip = escape_to;
}

void note_nmi(Frame&) {
    depth = depth + 1;
    if (depth > deepest) deepest = depth;
    count = count + 1;
    if (send_again) {
        send_again = false;
        send_self(0, delivery_nmi);
        for (int i = 0; i < 1000; ++i) pause();
    }
    depth = depth - 1;
}

constexpr u32 vector = 0x61;

// An interrupt waits while IF is clear; where is it taken?
void pending(const char* name, const void* code, const void* at) {
    count = 0;
    send_self(vector);
    const Outcome out = run(code);
    expect_done(name, out);
    check_equal(name, taken_at, address(at));
    check_equal(name, count, 1);
}

void shadows() {
    set_handler(vector, note);
    pending("sti takes effect after the next instruction", sti_shadow, sti_shadow_at);
    pending("sti; sti has one shadow", sti_sti, sti_sti_at);
    pending("sti; hlt", sti_halt, sti_halt_at);
    pending("sti; jmp", sti_jump, sti_jump_at);
    pending("sti; load", sti_load, sti_load_at);
    pending("popf has no shadow", popf_enables, popf_enables_at);
    pending("iret has no shadow", iret_enables, iret_enables_at);

    count = 0;
    send_self(vector);
    expect_done("sti; cli", run(sti_cli));
    check_equal("sti; cli never lets an interrupt in", count, 0);
    sti();
    pause();
    cli();
    check_equal("it comes with the next chance", count, 1);

    count = 0;
    Registers in;
    in.rflags |= RFLAGS::IF;
    write_cr8(15);
    send_self(vector);
    expect_done("mov cr8 with IF set", run(cr8_lowers, in));
    check_equal("mov cr8 lets it in", count, 1);
    check_equal("right after it", taken_at, address(cr8_lowers_at));

    // An interrupt for each `sti; ret`.
    set_handler(vector, [](Frame& frame) {
        note(frame);
        if (count < 50) send_self(vector);
    });
    count = 0;
    send_self(vector);
    const Outcome out = run(sti_return);
    check_equal("sti; ret in a loop", out.registers.rdx, 50);
    check_equal("sti; ret lets one in each time", count, 50);
    set_handler(vector, note);
}

void loops() {
    apic_write(ApicRegister::DivideConfiguration, 0xb);
    set_handler(vector, escape);
    const auto interruptible = [](const char* name, const void* code, u64 end) {
        for (const Ring ring : {Ring::Kernel, Ring::User}) {
            count = 0;
            escape_to = end + (ring == Ring::User ? user_alias : 0);
            apic_write(ApicRegister::LvtTimer, vector);
            apic_write(ApicRegister::InitialCount, 300'000);
            Registers in;
            in.rflags |= RFLAGS::IF;
            expect_done(name, run(code, in, ring));
            check_equal(name, count, 1);
        }
    };
    interruptible("tight loop", tight_loop, address(tight_loop) + 2);
    interruptible("loop of two blocks", two_block_loop, address(tight_loop) + 2);
    interruptible("loop with memory", memory_loop, address(tight_loop) + 2);
    interruptible("loop with call and return", call_loop, address(tight_loop) + 2);
    interruptible("loop of an indirect jump", indirect_loop, address(tight_loop) + 2);

    static volatile u32 word;
    set_handler(vector, [](Frame& frame) {
        note(frame);
        word = 1;
    });
    word = 0;
    Registers in;
    in.rdi = reinterpret_cast<u64>(&word);
    in.rflags |= RFLAGS::IF;
    apic_write(ApicRegister::InitialCount, 300'000);
    expect_done("loop that waits for the handler's store", run(spin_on_memory, in));
}

// The instruction behind MOV SS, which loads rsp, is never interrupted.
void stack_switch() {
    static u64 after, elsewhere;
    after = address(stack_switches_at) + 2;
    elsewhere = 0;
    set_handler(vector, [](Frame& frame) {
        note(frame);
        if (frame.rip != after) ++elsewhere;
        if (count >= 300) frame.rip = after + 5;
    });
    Registers in;
    in.rcx = Selector::KernelData;
    in.rflags |= RFLAGS::IF;
    count = 0;
    apic_write(ApicRegister::LvtTimer, timer_periodic | vector);
    apic_write(ApicRegister::InitialCount, 100'000);
    expect_done("mov ss in a loop", run(stack_switches, in));
    apic_write(ApicRegister::InitialCount, 0);
    check_equal("mov ss: interrupts never come right after it", elsewhere, count);
}

void unnoticed() {
    Registers in;
    for (unsigned i = 0; i < 15; ++i) in.general(i) = 0x9e3779b97f4a7c15 * (i + 1ull);
    in.rcx = 150'000;
    asm volatile("pxor %%xmm1, %%xmm1" ::: "memory");
    const Outcome quiet = run(mixing, in);
    set_handler(vector, note);
    for (const Ring ring : {Ring::Kernel, Ring::User}) {
        count = 0;
        in.rflags |= RFLAGS::IF;
        apic_write(ApicRegister::LvtTimer, timer_periodic | vector);
        apic_write(ApicRegister::InitialCount, 100'000);
        // One run may be over before the first interrupt: how many it takes is the machine's business.
        bool unnoticed_so_far = true;
        for (unsigned rounds = 0; count <= 3 && rounds < 100'000; ++rounds) {
            asm volatile("pxor %%xmm1, %%xmm1" ::: "memory");
            Outcome out = run(mixing, in, ring);
            out.registers.rsp = quiet.registers.rsp;
            unnoticed_so_far = unnoticed_so_far && same_registers(out.registers, quiet.registers);
        }
        apic_write(ApicRegister::InitialCount, 0);
        check("interrupted code notices nothing", unnoticed_so_far);
        check("it was interrupted", count > 3);
    }
    static u8 bytes[1 << 20];
    count = 0;
    in.rdi = address(bytes), in.rcx = sizeof bytes, in.rax = 0x5a;
    apic_write(ApicRegister::LvtTimer, timer_periodic | vector);
    apic_write(ApicRegister::InitialCount, 50'000);
    const Outcome out = run(long_string, in);
    apic_write(ApicRegister::InitialCount, 0);
    Tally tally{"rep stosb under interrupts"};
    tally.expect(out.registers.rdi, address(bytes) + sizeof bytes);
    tally.expect(out.registers.rcx, 0);
    for (u64 i = 0; i < sizeof bytes; i += 63) tally.expect(bytes[i], 0x5a, i);
}

void non_maskable() {
    set_handler(static_cast<u64>(Vector::NMI), note_nmi);
    count = 0;
    deepest = 0;
    cli();
    send_self(0, delivery_nmi);
    check("NMI is taken with IF clear", eventually([] { return count == 1; }));
    count = 0;
    deepest = 0;
    send_again = true;
    send_self(0, delivery_nmi);
    check("an NMI in an NMI's handler comes", eventually([] { return count == 2; }));
    check_equal("after its IRET", deepest, 1);
}

}  // namespace

void micro_main() {
    start_apic();
    shadows();
    loops();
    stack_switch();
    unnoticed();
    non_maskable();
}
