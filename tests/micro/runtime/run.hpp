// SPDX-License-Identifier: Apache-2.0
// Runs a fragment of code with given registers and reports how it ended.
//
// run() enters by IRET with every general register, RSP and RFLAGS loaded, and comes back at the first
// exception or INT that has no handler of its own, with all registers as they were there. Handlers for
// interrupts that arrive meanwhile are installed by set_handler(); they return to the interrupted code.

#pragma once

#include "runtime/fragment.hpp"
#include "runtime/print.hpp"

namespace micro {

// In the order that vectors.S pushes and enter_fragment loads.
struct Registers {
    u64 r15 = 0, r14 = 0, r13 = 0, r12 = 0, r11 = 0, r10 = 0, r9 = 0, r8 = 0;
    u64 rdi = 0, rsi = 0, rbp = 0, rbx = 0, rdx = 0, rcx = 0, rax = 0;
    u64 rsp = 0;  // zero: run() gives a stack
    u64 rip = 0;  // run() sets it
    u64 rflags = RFLAGS::Fixed;

    // 0: r15 … 14: rax, 15: rsp.
    u64& general(unsigned index) { return reinterpret_cast<u64*>(this)[index]; }
    u64 general(unsigned index) const { return reinterpret_cast<const u64*>(this)[index]; }
};

// What a handler's stack shows.
struct Frame {
    u64 gpr[15];  // r15 … rax, as in Registers
    u64 vector;
    u64 error;
    u64 rip, cs, rflags, rsp, ss;
};

struct Outcome {
    u64 vector = 0;  // done_vector: reached the fragment's end; syscall_vector: a SYSCALL
    u64 error = 0;
    u64 cs = 0, ss = 0;
    u64 cr2 = 0, dr6 = 0;
    u64 frame_address = 0;  // where the processor pushed the frame: tells stacks apart
    Registers registers;

    bool done() const { return vector == done_vector; }
};

enum class Ring : u8 { Kernel, User, Compatibility };  // CPL 0 and 3 in 64-bit code; CPL 3 in 32-bit code

inline constexpr u64 syscall_vector = 256;

// The selectors of the runtime's GDT; the slots in `spare_selectors` are for tests.
namespace Selector {
inline constexpr u16 KernelCode = 0x10;
inline constexpr u16 KernelData = 0x18;
inline constexpr u16 UserCode32 = 0x23;
inline constexpr u16 UserData = 0x2b;
inline constexpr u16 UserCode = 0x33;
inline constexpr u16 Tss = 0x40;
inline constexpr u16 Spare = 0x50;  // 0x50, 0x58 … 0xf8
}  // namespace Selector

struct [[gnu::packed]] TaskState {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1;
    u64 ist[7];
    u64 reserved2;
    u16 reserved3;
    u16 io_map_base;
    u8 io_map[8193];
};

extern u64 gdt[32];
extern TaskState task_state;

// Builds GDT, TSS, IDT, SYSCALL MSRs and control registers; called once by runtime_main.
void set_up_processor();
TableRegisterImage idt_register();  // for other processors

Outcome run(const void* code, Registers registers = {}, Ring ring = Ring::Kernel);

using Handler = void (*)(Frame&);
void set_handler(u64 vector, Handler handler);  // null: run() reports the vector again

enum class GateType : u8 { Interrupt = 14, Trap = 15 };
// All gates start as interrupt gates on IST 1; INT3, INTO and 0x80…0x8f may be called from CPL 3.
void set_gate(u64 vector, unsigned ist, unsigned dpl, GateType type = GateType::Interrupt);
void set_gate_raw(u64 vector, u64 low, u64 high);
u64 ist_top(unsigned ist);

// Where a fragment, or data of the image, is seen from CPL 3.
inline constexpr u64 user_alias = 2ull << 39;
inline u64 user(const void* image) { return reinterpret_cast<u64>(image) + user_alias; }
inline u64 address(const void* image) { return reinterpret_cast<u64>(image); }

// The default stacks' tops (16 KiB each): RSP of fragments at CPL 0, and at CPL 3.
u64 kernel_fragment_stack();
u64 user_fragment_stack();

// CR4.OSXSAVE and XCR0 with x87, SSE and AVX.
void enable_avx();
// Zeroes all vector registers that are enabled.
void clear_vectors();

// Verdicts on an outcome.
void expect_done(const char* name, const Outcome& outcome);
void expect_trap(const char* name, const Outcome& outcome, Vector vector, u64 error, const void* rip,
                 Ring ring = Ring::Kernel);
void expect_page_fault(const char* name, const Outcome& outcome, u64 error, u64 cr2, const void* rip,
                       Ring ring = Ring::Kernel);
// True if all 16 general registers are equal (RIP and RFLAGS are not compared).
bool same_registers(const Registers& a, const Registers& b);

}  // namespace micro

void micro_main();  // each micro-guest defines it
