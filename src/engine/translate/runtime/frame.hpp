// SPDX-License-Identifier: Apache-2.0
// What generated code finds beside the vCPU's frame, and the offsets it bakes in.
//
// Lives in Vcpu::engine_area, so that everything is gs:[constant].

#pragma once

#include "cpu/vcpu.hpp"
#include "engine/translate/emit/assembler.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace undercroft::translate {

// Why generated code returned to the run loop. RIP and all registers are in the vCPU.
enum class Leave : std::uint32_t {
    Lookup,     // go on at vcpu.rip
    Translate,  // as Lookup, but the block is not translated yet; `leave_exit` is the exit to link, if any
    Step,       // one instruction in the single-step executor, then go on
    Attention,  // the attention word is set
    Spin,       // a loop that changes nothing has lasted for Options::spin_ticks
    Pause,      // so many PAUSEs as Options::pause_limit says
};

struct BlockExit;
enum class Variant : std::uint8_t;

// The memory operand of an instruction that crosses a page, while it runs.
struct Bounce {
    static constexpr std::uint64_t alignment = 64;  // an operand's is kept up to this
    static constexpr unsigned most = 64;            // bytes of an operand
    alignas(alignment) std::array<std::byte, alignment + most> bytes{};
    std::byte* copy = nullptr;    // where in `bytes` the operand begins
    std::byte* first = nullptr;   // where its first `here` bytes belong,
    std::byte* second = nullptr;  // and the rest
    std::uint32_t here = 0;
    std::uint32_t size = 0;
};

struct EngineFrame {
    static constexpr unsigned jump_cache_bits = 15;
    static constexpr unsigned jump_cache_size = 1u << jump_cache_bits;
    static constexpr unsigned exec_slots = 4096;

    std::uint64_t host_rsp = 0;  // of the run loop, while generated code runs
    std::uint64_t entry = 0;     // where enter() jumps to
    HostCode resume = nullptr;   // where a thunk goes after a helper
    std::uint64_t resume_r10 = 0;
    std::uint64_t target = 0;     // the guest address of an indirect branch on its way
    std::uint64_t spill = 0;      // one guest register lent as scratch
    std::uint64_t spill_rax = 0;  // rax during flag saves and restores
    std::uint64_t operand = 0;    // a value between two checks (push [m], call [m])
    // Guest registers that a thunk uses.
    std::array<std::uint64_t, 3> thunk_spill{};
    // The guest's offset of an x87 memory operand: of the last one, and of one whose instruction has yet to
    // run.
    std::uint64_t x87_operand = 0;
    std::uint64_t next_x87_operand = 0;
    // Host address minus base register: per access group of the running block; last, of a string's target.
    std::array<std::uint64_t, 17> distance{};
    Variant leave_variant{};           // with Leave::Translate: of the block that is wanted
    bool reached_indirectly = false;   // with Leave::Translate: by an indirect branch
    bool faulted = false;              // with Leave::Step: a host signal has stopped the instruction half way
    std::uint32_t branch_record = 0;   // the Site of the last indirect branch, as an offset among the records
    std::uint32_t component_mask = 0;  // of an XSAVE or XRSTOR on its way
    std::uint32_t pauses = 0;          // as Options::pause_limit counts them
    // User code of this address space (CR3) is executed elsewhere: returns to it leave, and say so.
    static constexpr std::uint64_t no_address_space = ~0ull;
    static constexpr std::uint64_t every_address_space = ~1ull;
    std::uint64_t direct_space = no_address_space;
    bool returned_to_user = false;
    // The way back of the idle loop that is going round, or null; and the TSC when it is to leave, or zero:
    // it has been left for the run loop since.
    const BlockExit* spin_exit = nullptr;
    std::uint64_t spin_deadline = 0;
    Vcpu* vcpu = nullptr;
    void* engine = nullptr;
    Leave leave = Leave::Lookup;
    std::uint32_t host_mxcsr = 0x1f80;
    BlockExit* leave_exit = nullptr;  // with Leave::Translate: the exit to link, or null
    Bounce bounce;
    // A private copy of the area that XRSTOR loads: what has been checked is what gets loaded.
    alignas(64) std::array<std::byte, Vcpu::xsave_size> vector_area{};

    // With Options::counted, how many instructions this vCPU has executed, as StepExecutor::units() counts
    // them; exact at rest. Without it they are garbage.
    std::int64_t instructions = 0;
    // Polls, indirect branches and callbacks go out to the run loop when `instructions` has come to this.
    std::int64_t instruction_limit = std::numeric_limits<std::int64_t>::max();
    // With Options::counted, after leaving: the arithmetic flags that Vcpu::arithmetic holds. The others are
    // dead.
    std::uint32_t live_flags = static_cast<std::uint32_t>(RFLAGS::Arithmetic);

    bool limit_reached() const noexcept { return instructions >= instruction_limit; }

    // Which page instance each virtual page is, per access mode: what guards of cross-page branches compare.
    std::array<std::array<std::uint32_t, exec_slots>, access_mode_count> exec_id{};
    // Indirect-branch targets by the low bits of the guest address: entries that verify themselves.
    std::array<std::array<HostCode, jump_cache_size>, access_mode_count> jump_cache{};

    static EngineFrame& of(Vcpu& vcpu) { return *reinterpret_cast<EngineFrame*>(vcpu.engine_area.data()); }
};
static_assert(sizeof(EngineFrame) <= Vcpu::engine_area_size, "the vCPU reserves this much");

inline constexpr std::uint32_t no_page_instance = 0;

// Where gs base points, as an offset in the vCPU: at the software TLB, so that the fields of user code's
// array, which are addressed more often than all others, take a displacement of one byte or none.
inline constexpr std::size_t gs_origin = offsetof(Vcpu, tlb);
inline void* gs_base_of(Vcpu& vcpu) { return reinterpret_cast<std::byte*>(&vcpu) + gs_origin; }

// gs-relative operands.
constexpr Mem vcpu_field(std::size_t offset) { return Mem::frame(offset - gs_origin); }
constexpr Mem engine_field(std::size_t offset) { return vcpu_field(offsetof(Vcpu, engine_area) + offset); }
constexpr Mem home(int reg) { return vcpu_field(offsetof(Vcpu, gpr) + 8 * static_cast<std::size_t>(reg)); }
inline constexpr Mem frame_rip = vcpu_field(offsetof(Vcpu, rip));
inline constexpr Mem frame_flags = vcpu_field(offsetof(Vcpu, arithmetic));
inline constexpr Mem frame_interrupt_flag = vcpu_field(offsetof(Vcpu, interrupt_flag));
inline constexpr Mem frame_attention = vcpu_field(offsetof(Vcpu, attention));
inline constexpr Mem frame_pending_interrupt = vcpu_field(offsetof(Vcpu, pending_interrupt));

constexpr Mem segment_base(SegmentName name) {
    return vcpu_field(offsetof(Vcpu, segment) + sizeof(Segment) * static_cast<std::size_t>(name) +
                      offsetof(Segment, base));
}
constexpr unsigned exec_slot(std::uint64_t rip) {
    return static_cast<unsigned>(rip >> 12) & (EngineFrame::exec_slots - 1);
}
constexpr unsigned jump_slot(std::uint64_t rip) {
    return static_cast<unsigned>(rip) & (EngineFrame::jump_cache_size - 1);
}
constexpr Mem exec_id_field(AccessMode mode, std::uint64_t rip) {
    return engine_field(offsetof(EngineFrame, exec_id) +
                        4 * (static_cast<std::size_t>(mode) * EngineFrame::exec_slots + exec_slot(rip)));
}
// From gs base.
constexpr std::size_t tlb_offset(AccessMode mode) {
    return offsetof(Vcpu, tlb) - gs_origin + sizeof(Tlb::Array) * static_cast<std::size_t>(mode);
}
constexpr std::size_t tag_offset(AccessMode mode, Access access) {
    return tlb_offset(mode) +
           (access == Access::Write ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag));
}

// `index` = where the entry of the page of the address in `address` lies in its array. Changes flags.
inline void emit_entry_index(Assembler& as, int index, int address) {
    static_assert(sizeof(TlbEntry) == 4096 >> 7);
    as.rorx(index, address, 7);
    as.alu32_imm(Alu::And, index, (Tlb::entry_count - 1) * sizeof(TlbEntry));
}

// The scratch registers of generated code; the guest's own r10 and r11 live in the frame.
inline constexpr int scratch0 = 10;
inline constexpr int scratch1 = 11;
inline constexpr int rsp = 4;
inline constexpr int rax = 0;

}  // namespace undercroft::translate
