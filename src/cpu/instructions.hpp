// SPDX-License-Identifier: Apache-2.0
// The meaning of each privileged, sensitive and control-transferring instruction, for both engines.
//
// Conventions: the vCPU is at rest and vcpu.rip is the address of the instruction. Every function checks what
// the processor checks (CPL, mode, #UD conditions), in the manual's order. On success it returns true with
// all effects made; those that transfer control have set vcpu.rip, for the others the caller moves RIP on. On
// failure it returns false, `trap` holds the exception, and nothing guest-visible has changed (but A and D
// bits). The interrupt shadow: sti() and load_segment(SS) set vcpu.interrupt_shadow; the engine clears it
// after the next instruction. Exception, by the manual: iret() unblocks NMIs even when it faults.
//
// These may call the environment, which wants the vector state saved: rdmsr(), wrmsr(), read_control() and
// write_control() of CR8. Nothing else here does (device memory under a stack or a descriptor table aside).
//
// Source: Intel SDM vol. 2 pseudo-code of each instruction; AMD APM vol. 3 where the vendors differ (the
// host's vendor is what the guest sees). General registers only: called from translated code's helpers with
// guest vector state live, so no floating point, no library memcpy/memset, no allocation, no logging but
// Environment::report.

#pragma once

#include "cpu/vcpu.hpp"
#include "x86/trap.hpp"

#include <cstdint>

namespace undercroft {

enum class OperandSize : std::uint8_t { Word = 2, Dword = 4, Qword = 8 };

// --- control transfer -------------------------------------------------------------------------------------
[[nodiscard]] bool syscall(Vcpu& vcpu, std::uint64_t next_rip, Trap& trap) noexcept;
[[nodiscard]] bool sysret(Vcpu& vcpu, OperandSize size, Trap& trap) noexcept;  // Qword with REX.W, else Dword
[[nodiscard]] bool sysenter(Vcpu& vcpu, Trap& trap) noexcept;  // #UD on AMD in long mode, as there
[[nodiscard]] bool sysexit(Vcpu& vcpu, OperandSize size, Trap& trap) noexcept;
[[nodiscard]] bool iret(Vcpu& vcpu, OperandSize size, Trap& trap) noexcept;
// The far branches take the pointer already read from memory or the stack; far_return pops by itself.
[[nodiscard]] bool far_jump(Vcpu& vcpu, std::uint16_t selector, std::uint64_t offset, Trap& trap) noexcept;
[[nodiscard]] bool far_call(Vcpu& vcpu, std::uint16_t selector, std::uint64_t offset, OperandSize size,
                            std::uint64_t next_rip, Trap& trap) noexcept;
[[nodiscard]] bool far_return(Vcpu& vcpu, OperandSize size, std::uint16_t bytes_to_pop, Trap& trap) noexcept;

// --- segments and descriptor tables -----------------------------------------------------------------------
[[nodiscard]] bool load_segment(Vcpu& vcpu, SegmentName name, std::uint16_t selector, Trap& trap) noexcept;
[[nodiscard]] bool lldt(Vcpu& vcpu, std::uint16_t selector, Trap& trap) noexcept;
[[nodiscard]] bool ltr(Vcpu& vcpu, std::uint16_t selector, Trap& trap) noexcept;
enum class TableName : std::uint8_t { Gdt, Idt };
[[nodiscard]] bool load_table(Vcpu& vcpu, TableName name, std::uint16_t limit, std::uint64_t base,
                              Trap& trap) noexcept;
// SGDT, SIDT, SLDT, STR, SMSW under UMIP: #GP at CPL > 0. True when the store may go on.
[[nodiscard]] bool may_store_system_register(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool swapgs(Vcpu& vcpu, Trap& trap) noexcept;
// LAR, LSL, VERR, VERW: never fault on the selector; set or clear ZF in vcpu.arithmetic. `value` only for
// LAR, LSL with ZF set.
enum class SegmentQuery : std::uint8_t { Lar, Lsl, Verr, Verw };
[[nodiscard]] bool query_segment(Vcpu& vcpu, SegmentQuery query, std::uint16_t selector, std::uint64_t& value,
                                 Trap& trap) noexcept;
// RDFSBASE and kin: #UD unless CR4.FSGSBASE in 64-bit mode; the write faults on a non-canonical base.
[[nodiscard]] bool may_use_fsgsbase(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool write_segment_base(Vcpu& vcpu, SegmentName name, std::uint64_t base, Trap& trap) noexcept;

// --- control and debug registers --------------------------------------------------------------------------
[[nodiscard]] bool read_control(Vcpu& vcpu, unsigned number, std::uint64_t& value, Trap& trap) noexcept;
[[nodiscard]] bool write_control(Vcpu& vcpu, unsigned number, std::uint64_t value,
                                 Trap& trap) noexcept;  // flushes TLBs
[[nodiscard]] bool read_debug(Vcpu& vcpu, unsigned number, std::uint64_t& value, Trap& trap) noexcept;
[[nodiscard]] bool write_debug(Vcpu& vcpu, unsigned number, std::uint64_t value, Trap& trap) noexcept;
[[nodiscard]] bool clts(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool lmsw(Vcpu& vcpu, std::uint16_t value, Trap& trap) noexcept;
[[nodiscard]] bool xsetbv(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool xgetbv(Vcpu& vcpu, Trap& trap) noexcept;

// --- flags and interrupts ---------------------------------------------------------------------------------
[[nodiscard]] bool cli(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool sti(Vcpu& vcpu, Trap& trap) noexcept;  // shadow only when IF was clear
[[nodiscard]] bool clac(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool stac(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool pushf_value(Vcpu& vcpu, OperandSize size, std::uint64_t& value,
                               Trap& trap) noexcept;  // VM, RF read as zero
[[nodiscard]] bool popf(Vcpu& vcpu, std::uint64_t value, OperandSize size, Trap& trap) noexcept;
[[nodiscard]] bool hlt(Vcpu& vcpu,
                       Trap& trap) noexcept;  // activity = Halted; the caller moves RIP on first thing
// INT n, INT3, INTO: returns the trap to deliver. (INT1 checks no privilege: move RIP on and deliver DB as a
// Trap.)
Trap software_interrupt(const Vcpu& vcpu, Vector vector, std::uint64_t next_rip) noexcept;

// --- the rest ---------------------------------------------------------------------------------------------
[[nodiscard]] bool rdmsr(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool wrmsr(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool rdtsc(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool rdtscp(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool rdpid(Vcpu& vcpu, std::uint64_t& value, Trap& trap) noexcept;
[[nodiscard]] bool rdpmc(Vcpu& vcpu, Trap& trap) noexcept;
[[nodiscard]] bool cpuid(Vcpu& vcpu, Trap& trap) noexcept;
// VMCALL, VMMCALL: sets RIP. #UD in a machine that has asked for nothing.
[[nodiscard]] bool hypercall(Vcpu& vcpu, std::uint64_t next_rip, Trap& trap) noexcept;
[[nodiscard]] bool invlpg(Vcpu& vcpu, std::uint64_t address, Trap& trap) noexcept;
// The operand in memory, read already.
struct InvpcidDescriptor {
    std::uint64_t pcid = 0;
    std::uint64_t address = 0;
};
[[nodiscard]] bool invpcid(Vcpu& vcpu, std::uint64_t type, const InvpcidDescriptor& descriptor,
                           Trap& trap) noexcept;
[[nodiscard]] bool wbinvd(Vcpu& vcpu, Trap& trap) noexcept;  // also INVD
// IN, OUT, INS, OUTS: CPL against IOPL, then the TSS's permission bitmap.
[[nodiscard]] bool may_use_port(Vcpu& vcpu, std::uint16_t port, unsigned size, Trap& trap) noexcept;
// #UD / #NM that x87, SSE and AVX instructions raise from CR0.EM, CR0.TS, CR4.OSFXSR, CR4.OSXSAVE, XCR0.
enum class VectorUnit : std::uint8_t { X87, Mmx, Sse, Avx, Wait };
[[nodiscard]] bool may_use_vector_unit(const Vcpu& vcpu, VectorUnit unit, Trap& trap) noexcept;

}  // namespace undercroft
