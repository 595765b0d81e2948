// SPDX-License-Identifier: Apache-2.0
// What a virtual processor is: its architectural state, and the frame that translated code reaches through
// gs.
//
// At rest (outside translated code) everything the guest can see of the processor is in here. While
// translated code runs, general registers other than r10 and r11 are in the same-named host registers,
// arithmetic flags in the host's flags (or in `arithmetic`), and x87/SSE/AVX state in the host's registers.
//
// Owned by the thread that runs the vCPU; other threads only set bits in `attention`.
// Standard layout: the translator uses offsetof.

#pragma once

#include "base/elsewhere.hpp"
#include "cpu/address_spaces.hpp"
#include "cpu/trap_counts.hpp"
#include "mmu/mmu.hpp"
#include "mmu/tlb.hpp"
#include "x86/registers.hpp"
#include "x86/segment.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace undercroft {

class Environment;
class TraceRing;

// Reasons to look up from translated code.
namespace Attention {
inline constexpr std::uint32_t Interrupt = 1u << 0;  // the local APIC may have something deliverable
inline constexpr std::uint32_t Nmi = 1u << 1;
inline constexpr std::uint32_t Stop = 1u << 2;    // the engine is to return Exit::Stop
inline constexpr std::uint32_t Resync = 1u << 3;  // the translator must leave its block (its cache changed)
inline constexpr std::uint32_t Notice = 1u
                                        << 4;  // another vCPU has told of code, or waits: CodePages::serve()
inline constexpr std::uint32_t Start = 1u << 5;    // INIT or a start-up IPI has come: take_start_requests()
inline constexpr std::uint32_t Preempt = 1u << 6;  // the engine is to return Exit::Preempt
}  // namespace Attention

enum class Activity : std::uint8_t { Running, Halted, WaitForSipi, Shutdown };

struct DebugRegisters {
    std::array<std::uint64_t, 4> address{};  // DR0..DR3
    std::uint64_t dr6 = 0xffff0ff0;
    std::uint64_t dr7 = 0x400;
};

// Where misses of a TLB that the guest fills go (docs/softtlb.md); PagingState says whether it does.
struct MissHandler {
    std::uint64_t rip = 0;
    std::uint64_t stack_top = 0;
    std::uint8_t running = 0;  // from a miss to the next IRET
};

struct alignas(4096) Vcpu {
    static constexpr std::size_t xsave_size = 832;  // legacy 512 + header 64 + AVX 256: standard format

    // --- the frame ---------------------------------------------------------------------------------------
    std::array<std::uint64_t, 16> gpr{};  // in encoding order, see Gpr
    std::uint64_t rip = 0;
    std::uint16_t arithmetic =
        0x0200;  // AH as LAHF gives it (SF ZF 0 AF 0 PF 1 CF) in the high byte; OF (0/1) low
    std::uint8_t interrupt_flag = 0;  // RFLAGS.IF
    std::uint8_t interrupt_shadow =
        0;  // one: no interrupt before the next instruction has completed (STI, MOV SS)
    std::uint8_t pending_interrupt = 0;  // one: ask the environment for an interrupt as soon as IF allows
    std::uint8_t pending_nmi = 0;
    std::uint8_t nmi_blocked = 0;  // from NMI delivery to the next IRET
    Activity activity = Activity::Running;
    std::uint64_t system_flags = 0;  // TF DF IOPL NT RF VM AC VIF VIP ID at their places; nothing else
    std::atomic<std::uint32_t> attention{0};  // anyone sets bits; the owner clears them
    std::uint8_t cpl = 0;
    std::uint8_t padding[3] = {};

    std::array<Segment, 6> segment{};  // in encoding order, see SegmentName
    Segment ldtr;
    Segment tr;
    TableRegister gdtr;
    TableRegister idtr;

    PagingState paging;  // CR0, CR3, CR4, EFER
    std::uint64_t cr2 = 0;
    std::uint64_t xcr0 = XCR0::X87;
    std::uint64_t kernel_gs_base = 0;
    std::uint64_t star = 0;
    std::uint64_t lstar = 0;
    std::uint64_t cstar = 0;
    std::uint64_t fmask = 0;
    std::uint64_t sysenter_cs = 0;
    std::uint64_t sysenter_esp = 0;
    std::uint64_t sysenter_eip = 0;
    std::uint64_t pat = 0x0007040600070406;
    std::uint64_t tsc_offset = 0;  // guest TSC = host TSC + this
    std::uint64_t tsc_aux = 0;
    std::uint64_t misc_enable = 1;
    std::uint64_t spec_ctrl = 0;
    DebugRegisters debug;
    MissHandler miss_handler;

    Mmu* mmu = nullptr;
    Environment* environment = nullptr;
    const class CpuidTable* cpuid = nullptr;
    std::uint32_t apic_id = 0;
    std::uint32_t index = 0;  // 0 is the boot processor
    Elsewhere elsewhere;      // where guest code executes, if not on the owner's thread

    alignas(64) std::array<std::byte, xsave_size> xsave{};  // the guest's x87/SSE/AVX state at rest

    alignas(4096) Tlb tlb;

    // Memory of the engine that runs this vCPU, at a constant distance from the frame; not guest state.
    static constexpr std::size_t engine_area_size = 1024 * 1024;
    alignas(4096) std::array<std::byte, engine_area_size> engine_area{};

    TrapCounts traps;
    AddressSpaces address_spaces;
    TraceRing* trace = nullptr;  // where traps and returns are recorded; null: nowhere

    // What INIT and start-up IPIs ask for, see request_init(). Others write it, the owner takes it.
    std::atomic<std::uint32_t> start_requests{0};

    // --- convenience --------------------------------------------------------------------------------------
    std::uint64_t& reg(Gpr name) { return gpr[static_cast<unsigned>(name)]; }
    std::uint64_t reg(Gpr name) const { return gpr[static_cast<unsigned>(name)]; }
    Segment& seg(SegmentName name) { return segment[static_cast<unsigned>(name)]; }
    const Segment& seg(SegmentName name) const { return segment[static_cast<unsigned>(name)]; }

    std::uint64_t arithmetic_flags() const { return (arithmetic >> 8 & 0xd5u) | (arithmetic & 1u) << 11; }
    void set_arithmetic_flags(std::uint64_t rflags) {
        arithmetic = static_cast<std::uint16_t>(((rflags & 0xd5) | RFLAGS::Fixed) << 8 | (rflags >> 11 & 1));
    }
    // The whole architectural register.
    std::uint64_t rflags() const {
        return arithmetic_flags() | RFLAGS::Fixed | system_flags | std::uint64_t{interrupt_flag} << 9;
    }
    void set_rflags(std::uint64_t value) {
        set_arithmetic_flags(value);
        interrupt_flag = static_cast<std::uint8_t>(value >> 9 & 1);
        system_flags = value & (RFLAGS::TF | RFLAGS::DF | RFLAGS::IOPL | RFLAGS::NT | RFLAGS::RF |
                                RFLAGS::VM | RFLAGS::AC | RFLAGS::VIF | RFLAGS::VIP | RFLAGS::ID);
    }
    unsigned iopl() const { return static_cast<unsigned>(system_flags >> 12 & 3); }

    bool long_mode() const { return (paging.efer & EFER::LMA) != 0; }
    bool code_64bit() const { return long_mode() && seg(SegmentName::CS).is_64bit_code(); }

    // The mode of explicit data accesses now.
    AccessMode access_mode() const {
        if (cpl == 3) return AccessMode::User;
        bool closed = (paging.cr4 & CR4::SMAP) != 0 && (system_flags & RFLAGS::AC) == 0;
        return closed ? AccessMode::Supervisor : AccessMode::SupervisorAc;
    }
    // The mode of implicit supervisor accesses (descriptor tables, TSS, handler's stack), whatever CPL and AC
    // are.
    AccessMode system_access_mode() const {
        return (paging.cr4 & CR4::SMAP) != 0 ? AccessMode::Supervisor : AccessMode::SupervisorAc;
    }

    void request(std::uint32_t bits) noexcept {
        attention.fetch_or(bits, std::memory_order_seq_cst);
        elsewhere.interrupt();
    }
};

// Not in Vcpu, so that it stays an aggregate of plain state: put `vcpu` in the state after power-on or INIT
// (SDM vol. 3A table 9-1).
void reset(Vcpu& vcpu);

// Any thread, one at a time: the vCPU is to do so between two instructions. An INIT makes start-up IPIs from
// before void; of several start-up IPIs the first counts.
void request_init(Vcpu& vcpu) noexcept;
void request_start_up(Vcpu& vcpu, std::uint8_t vector) noexcept;
// Between INIT and start-up a vCPU takes no NMI and keeps none for later.
void request_nmi(Vcpu& vcpu) noexcept;
// By the owner, when Attention::Start is set. After INIT a vCPU waits for a start-up IPI.
void take_start_requests(Vcpu& vcpu) noexcept;

// A start-up IPI: a vCPU in WaitForSipi begins at vector * 4096 in real mode; any other ignores it (SDM vol.
// 3A section 8.4.3).
void start_up(Vcpu& vcpu, std::uint8_t vector) noexcept;

}  // namespace undercroft
