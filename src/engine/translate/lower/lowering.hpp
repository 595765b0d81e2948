// SPDX-License-Identifier: Apache-2.0
// From analysed guest instructions to host code: one Lowering per block.
//
// Host registers while generated code runs: every guest register in its namesake except r10 and r11, which
// live in the frame; host r10 and r11 are scratch between instructions. Within an instruction nothing
// guest-visible changes before all its checks have passed, so that a callback in a check sees the state
// before the instruction.
//
// Arithmetic flags are in the host's flags (`in_host_`), in the frame (`in_frame_`), or in both; in neither
// only when nobody will read them.

#pragma once

#include "engine/translate/analyse/merge.hpp"
#include "engine/translate/cache/block.hpp"
#include "engine/translate/cache/code_memory.hpp"
#include "engine/translate/cache/relocation.hpp"
#include "engine/translate/decode/instruction.hpp"
#include "engine/translate/decode/registers.hpp"
#include "engine/translate/emit/assembler.hpp"
#include "engine/translate/runtime/callbacks.hpp"
#include "engine/translate/runtime/frame.hpp"
#include "engine/translate/runtime/thunks.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace undercroft::translate {

// A host instruction whose fault is the guest's (#DE, #GP of alignment, SIMD exceptions): see
// runtime/signals.
struct FaultPoint {
    std::uint32_t begin = 0;  // offsets in the code view
    std::uint32_t end = 0;
    bool flags_in_host = false;
    std::int8_t lent = -1;         // the guest register that was lent as scratch
    std::uint8_t remaining = 0;    // as in Site
    std::uint16_t x87_opcode = 0;  // as an x87 instruction leaves it, in the guest's encoding
    std::uint64_t rip = 0;
};

inline Condition condition_of(const Instruction& i) { return static_cast<Condition>(i.opcode & 0xf); }

class Lowering {
    // Code behind the block that hands a record to the thunk.
    struct ColdStub {
        std::array<HostCode, 6> jumps{};  // displacements to bind to the stub; null: none
        Callback* record = nullptr;
        BlockExit* exit = nullptr;                   // the same record, when it is an exit
        std::optional<std::size_t> tag_offset = {};  // a missed access: the TLB tag that was subtracted
        std::uint64_t poll_rip = 0;   // without a record: attention is wanted, go on there later
        std::uint32_t poll_live = 0;  // the flags that have been saved
        unsigned poll_remaining = 0;  // instructions of the block that are left
        bool save_flags = false;      // the flags are in the host only
        HostCode thunk = nullptr;     // null: the one for calls
    };

    // A way out of the middle of a trace, when it takes more than a patched jump.
    struct SideExit {
        const Instruction* branch = nullptr;
        HostCode jump = nullptr;  // displacement to bind to it
        std::uint64_t target = 0;
        unsigned remaining = 0;  // instructions of the trace that are left
        bool in_frame = false;   // the flags are in the frame, too
        bool went_back = false;
    };

public:
    // Lists that keep their memory from one block to the next.
    struct Lists {
        std::vector<ColdStub> cold;
        std::vector<SideExit> side_exits;
    };
    struct Settings {
        bool counted = false;          // see Options
        std::uint16_t trace_heat = 0;  // of exits that close loops; zero: no traces
        bool indirect_entry = false;   // in front of the block
        // What a copy would change is added here, and whether one can be made at all said in the block; null:
        // none will be.
        Relocations* relocations = nullptr;
    };
    Lowering(CodeMemory& memory, const Thunks& thunks, Block& block, std::vector<FaultPoint>& fault_points,
             Lists& lists, Settings settings);

    // Flags that may be read where a direct branch goes, and where a block that just ends goes on.
    struct Edges {
        std::uint32_t taken_live = 0;
        std::uint32_t next_live = 0;
    };
    // Emits the whole block and fills in its entries. `live_in` as analyse_flags gave it.
    void lower(std::span<Instruction> instructions, const AccessGroups& groups, std::uint32_t live_in,
               const Edges& edges);
    // The direct way out of the block, or null if there are several, or none.
    BlockExit* only_exit() const { return exits_ == 1 ? last_exit_ : nullptr; }

private:
    // --- block.cpp
    void prologue(std::span<const Instruction> instructions, std::uint32_t live_in);
    void one(const Instruction& i, const Edges& edges);
    void cold_stubs();
    void other_entry();
    void keep_flags(std::uint32_t live);  // they are in the host's only
    void restore_flags();                 // they are in the frame only

    // --- flags.cpp
    void save_flags(std::uint32_t live);  // before something that destroys host flags; uses scratch1
    void need_flags();                    // make the host's flags the guest's; uses scratch1
    void need_flags_keeping_scratch();    // the same, through the frame
    void clobber_flags() { in_host_ = false; }
    void flags_written() {
        in_host_ = true;
        in_frame_ = false;
    }
    void prepare_flags_for(const Instruction& i, bool scratch1_free);
    static std::uint32_t live_before(const Instruction& i) {
        if (i.flags.shown) return static_cast<std::uint32_t>(RFLAGS::Arithmetic);
        return i.flags.read | (i.live_after & ~i.flags.written);
    }

    // --- memory.cpp
    static bool leaves_x87_operand(const Instruction& i);
    void effective_address(const Instruction& i, const MemoryOperand& m);  // into scratch0
    // What a check leaves: host memory at scratch0 + scratch1, or at the guest address + scratch1.
    enum class Checked : std::uint8_t { Host, Distance };
    void probe(Access access);
    void check(const Instruction& i, Access access, unsigned size, Checked result = Checked::Host);
    Mem check_by_base(const Instruction& i, Access access, unsigned size, int base, std::int32_t disp);
    void take_scratch1();  // before it is overwritten
    // Checked host memory for an access at [base + disp], by the group's check or one of its own. Saves live
    // flags if it checks.
    Mem reach(const Instruction& i, Access access, unsigned size, int base, std::int32_t disp);
    Mem reach_in_group(const Instruction& i, int base, std::int32_t disp);

    // --- copy.cpp
    void copy(const Instruction& i);
    void copy_with_memory(const Instruction& i);
    void run_on(const Instruction& i, const Mem& checked);  // the instruction, its operand in host memory
    void copy_registers(const Instruction& i);
    void lea(const Instruction& i);
    void bit_string(const Instruction& i);
    void emit_bytes(const Instruction& i);
    void emit_with_memory(const Instruction& i, const Mem& to);
    Mem place_operand(const Instruction& i, const Mem& checked, int& lent);
    void note_fault_point(const Instruction& i, std::size_t begin, int lent);

    // --- crossing.cpp
    void check_tail(const Instruction& i);
    static bool may_cross(const Instruction& i, Access access);
    void copy_across(const Instruction& i);

    // --- stack.cpp
    static bool moves_stack_only(const Instruction& i);
    void settle_stack();
    void push(const Instruction& i);
    void pop(const Instruction& i);
    void leave(const Instruction& i);
    void store_imm_at(Mem to, std::uint64_t value,
                      bool guest_address = false);  // 8 bytes at what reach() gave
    void store_register_at(Mem to, int reg);
    void load_register_from(int reg, Mem from);
    void load_operand_to_frame(const Instruction& i, const Operand& operand);

    // --- branch.cpp
    void jump_direct(const Instruction& i, const Edges& edges);
    void jump_conditional(const Instruction& i, const Edges& edges);
    void jump_indirect(const Instruction& i);
    void call_direct(const Instruction& i, const Edges& edges);
    void call_indirect(const Instruction& i);
    void return_near(const Instruction& i);
    static std::int32_t popped_by(const Instruction& i);
    // Target in scratch0, flags saved; `stack_moved`: what the instruction has added to rsp already.
    void go_indirect(const Instruction& i, std::int32_t stack_moved);
    BlockExit* exit_to(const Instruction& i, std::uint64_t target, std::uint32_t live, AccessMode mode);
    BlockExit* plain_exit(std::uint64_t target, AccessMode mode, std::uint32_t live, HostCode jump,
                          bool conditional);
    // Needs neither a guard nor a poll.
    bool is_plain_exit(const Instruction& i, std::uint64_t target) const {
        return same_page(target) && target > i.rip && !went_back_ && !in_shadow_;
    }
    BlockExit* new_exit(std::uint64_t target, AccessMode mode, bool flags_in_host);
    HostCode count_rounds(BlockExit& exit);
    void poll(std::uint64_t rip, std::uint32_t live, unsigned remaining);
    void count(int instructions);  // flags stay; uses scratch1
    void push_return_address(const Instruction& i);
    void refuse_non_canonical(const Instruction& i);

    // --- trace.cpp
    void follow_conditional(const Instruction& i);
    void follow_return(const Instruction& i);
    void note_way_back(const Instruction& i);
    void leave_trace(const Instruction& i, HostCode jump, std::uint64_t target);
    void side_exits();
    void forget_spin();

    // --- string.cpp
    void string(const Instruction& i);
    void check_elements(Access access, int pointer, unsigned width, ColdStub& stub);
    void repeat(unsigned width, unsigned opcode);

    // --- system.cpp
    void hand_over(Site* site) { hand_over(site, thunks_.call); }  // calls its function; scratch0: argument
    void hand_over(Site* site, HostCode thunk);
    void callback(const Instruction& i, CallbackFunction function, unsigned size = 0, unsigned detail = 0);
    void sti(const Instruction& i);
    void stac_clac(const Instruction& i, const Edges& edges);
    void swap_gs();
    void read_tsc(const Instruction& i);
    void read_system(const Instruction& i);
    // --- helper.cpp
    void helper(const Instruction& i);
    void vector_state(const Instruction& i);
    static unsigned register_detail(const Operand& operand) {
        return static_cast<unsigned>(gpr_number(operand.reg));
    }

    // --- relocation.cpp
    void note(Relocation::Kind kind, HostCode at);
    void note_record(Relocation::Kind kind, const void* record);
    void note_relative() { note(Relocation::Kind::Relative, as_.here() - 4); }  // just emitted
    void mov_guest_address(int reg, std::uint64_t address);
    std::size_t cmp_exec_id(AccessMode mode, std::uint64_t rip, std::uint32_t id);
    void immovable() { relocations_ = nullptr; }

    Site* new_site(const Instruction& i, CallbackFunction function, unsigned size, Access access,
                   unsigned detail);
    bool same_page(std::uint64_t rip) const { return (rip ^ block_.rip) >> 12 == 0; }

    CodeMemory& memory_;
    const Thunks& thunks_;
    Block& block_;
    std::vector<FaultPoint>& fault_points_;
    Assembler as_;
    std::vector<ColdStub>& cold_;
    std::vector<SideExit>& side_exits_;
    bool counted_;
    std::uint16_t trace_heat_;
    bool indirect_entry_;
    Relocations* relocations_;
    unsigned remaining_ = 0;  // instructions from the one being lowered to the block's end
    bool in_host_ = false;
    bool in_frame_ = true;
    AccessGroups groups_;
    int distance_in_scratch1_ = -1;  // the group whose distance scratch1 still holds
    int unsaved_group_ = -1;         // the same, if it is not in its slot yet
    std::array<unsigned, AccessGroups::limit> members_left_{};
    std::int32_t stack_behind_ = 0;  // what the host's rsp has yet to move, after a run of pushes or pops
    bool went_back_ = false;         // the trace has followed a backward branch: it owes a poll
    bool in_shadow_ = false;         // lowering the instruction after STI
    BlockExit* last_exit_ = nullptr;
    unsigned exits_ = 0;
};

}  // namespace undercroft::translate
