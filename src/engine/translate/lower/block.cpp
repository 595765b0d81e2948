// SPDX-License-Identifier: Apache-2.0
// A block as a whole: its entries, its instructions, and the cold code behind it.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {
namespace {

// Does the block want its flags in the host's at the start? Only if they are used before a check would
// destroy them.
bool begins_with_flags(std::span<const Instruction> instructions, std::uint32_t live_in) {
    if (live_in == 0) return false;
    for (const Instruction& i : instructions) {
        bool checks = i.memory() != nullptr ||
                      (i.kind != Kind::Copy && i.kind != Kind::Nop && i.kind != Kind::JumpConditional);
        if (i.flags.touches && i.flags.read != 0 && !checks) return true;
        if (checks || i.flags.touches) return false;
    }
    return false;
}

}  // namespace

Lowering::Lowering(CodeMemory& memory, const Thunks& thunks, Block& block,
                   std::vector<FaultPoint>& fault_points, Lists& lists, Settings settings)
    : memory_{memory},
      thunks_{thunks},
      block_{block},
      fault_points_{fault_points},
      as_{memory.assemble(CodeMemory::Part::Hot)},
      cold_{lists.cold},
      side_exits_{lists.side_exits},
      counted_{settings.counted},
      trace_heat_{settings.trace_heat},
      indirect_entry_{settings.indirect_entry},
      relocations_{settings.relocations} {
    cold_.clear();
    side_exits_.clear();
}

void Lowering::lower(std::span<Instruction> instructions, const AccessGroups& groups, std::uint32_t live_in,
                     const Edges& edges) {
    groups_ = groups;
    prologue(instructions, live_in);
    remaining_ = static_cast<unsigned>(instructions.size());
    if (block_.tail_page_id != no_page_instance) check_tail(instructions.front());
    for (const Instruction& i : instructions) {
        CHECK(as_.has_room(), "the code cache was to be emptied before this block");
        one(i, edges);
        if (in_shadow_ && !ends_block(i.kind)) {
            settle_stack();
            save_flags(i.live_after);
            poll(i.next_rip(), i.live_after, remaining_ - 1);
        }
        --remaining_;
        in_shadow_ = i.kind == Kind::Sti;
    }
    settle_stack();
    const Instruction& last = instructions.back();
    CHECK(last.follow == Follow::Nothing, "a trace goes on behind its end");
    if (!ends_block(last.kind)) exit_to(last, last.next_rip(), edges.next_live, block_.mode);
    block_.code_end = as_.here();
    memory_.take(CodeMemory::Part::Hot, as_.size());
    as_ = memory_.assemble(CodeMemory::Part::Cold);
    block_.cold_begin = as_.here();
    other_entry();
    side_exits();
    cold_stubs();
    block_.cold_end = as_.here();
    memory_.take(CodeMemory::Part::Cold, as_.size());
    block_.movable = relocations_ != nullptr;
}

// Where flags are wanted in the host's, the way in that has them there comes first, as most come that way;
// where a check would destroy them at once, saving them is in front. A way in that would be in the way comes
// later.
void Lowering::prologue(std::span<const Instruction> instructions, std::uint32_t live_in) {
    block_.live_in = live_in;
    bool in_host = block_.tail_page_id == no_page_instance && begins_with_flags(instructions, live_in);
    if (indirect_entry_ || block_.trace) as_.align(16);
    if (indirect_entry_) {
        block_.indirect_entry = as_.here();
        emit_indirect_entry(as_, thunks_, block_, counted_);
    }
    block_.code_begin = as_.here();
    if (in_host) {
        if (indirect_entry_) {
            block_.frame_entry = as_.here();
            restore_flags();
        }
        block_.host_entry = as_.here();
        in_host_ = true;
        in_frame_ = false;
    } else {
        if (live_in != 0 && !indirect_entry_) {
            block_.host_entry = as_.here();
            keep_flags(live_in);
        }
        block_.frame_entry = as_.here();
        if (live_in == 0) block_.host_entry = as_.here();
        in_host_ = false;
        in_frame_ = true;
    }
    if (counted_) count(static_cast<int>(instructions.size()));
}

void Lowering::keep_flags(std::uint32_t live) {
    in_host_ = true;
    in_frame_ = false;
    save_flags(live);
}

void Lowering::restore_flags() {
    in_host_ = false;
    in_frame_ = true;
    need_flags();
}

// The way in that the prologue has left out.
void Lowering::other_entry() {
    if (block_.host_entry == nullptr) {
        block_.host_entry = as_.here();
        keep_flags(block_.live_in);
        as_.jmp(block_.frame_entry);
        note_relative();
    } else if (block_.frame_entry == nullptr) {
        block_.frame_entry = as_.here();
        restore_flags();
        as_.jmp(block_.host_entry);
        note_relative();
    }
}

void Lowering::count(int instructions) {
    constexpr Mem counter = engine_field(offsetof(EngineFrame, instructions));
    as_.load(scratch1, counter);
    as_.lea(scratch1, Mem{.base = scratch1, .disp = instructions});
    as_.store(counter, scratch1);
}

void Lowering::one(const Instruction& i, const Edges& edges) {
    if (!moves_stack_only(i)) settle_stack();
    switch (i.kind) {
        case Kind::Copy: copy(i); break;
        case Kind::Nop: break;
        case Kind::BitString: bit_string(i); break;
        case Kind::ReadTsc:
            if (counted_)
                callback(i, step_instruction);
            else
                read_tsc(i);
            break;
        case Kind::ReadSystem: read_system(i); break;
        case Kind::WriteCr3: callback(i, write_cr3, 0, register_detail(i.operand[1])); break;
        case Kind::WriteSegmentBase: {
            bool fs = i.mnemonic == ZYDIS_MNEMONIC_WRFSBASE;
            callback(i, fs ? write_fs_base : write_gs_base, i.operand[0].size / 8u,
                     register_detail(i.operand[0]));
            break;
        }
        case Kind::Push: push(i); break;
        case Kind::Pop: pop(i); break;
        case Kind::Leave: leave(i); break;
        case Kind::CallDirect: call_direct(i, edges); break;
        case Kind::CallIndirect: call_indirect(i); break;
        case Kind::Return: return_near(i); break;
        case Kind::JumpDirect: jump_direct(i, edges); break;
        case Kind::JumpIndirect: jump_indirect(i); break;
        case Kind::JumpConditional: jump_conditional(i, edges); break;
        case Kind::Cli: as_.store8_imm(frame_interrupt_flag, 0); break;
        case Kind::Sti: sti(i); break;
        case Kind::StacClac: stac_clac(i, edges); break;
        case Kind::SwapGs: swap_gs(); break;
        case Kind::PushFlags: callback(i, push_flags); break;
        case Kind::String: string(i); break;
        case Kind::Syscall: callback(i, system_call); break;
        case Kind::Sysret: callback(i, system_return, i.operand_width == 64 ? 8 : 4); break;
        case Kind::InterruptReturn: callback(i, interrupt_return, 8); break;
        case Kind::PopFlags: callback(i, pop_flags, i.operand_width / 8u); break;
        case Kind::Helper:
        case Kind::HelperEnds: helper(i); break;
        case Kind::SaveVectors:
        case Kind::RestoreVectors: vector_state(i); break;
        case Kind::Step: callback(i, step_instruction); break;
    }
}

void Lowering::cold_stubs() {
    for (const ColdStub& stub : cold_) {
        CHECK(as_.has_room(), "the code cache was to be emptied before this block");
        if (stub.exit != nullptr) stub.exit->stub = as_.here();
        for (HostCode jump : stub.jumps) {
            if (jump == nullptr) continue;
            memory_.patch_jump(jump, as_.here());
            if (stub.exit == nullptr || jump != stub.exit->jump) note(Relocation::Kind::Relative, jump);
        }
        if (stub.save_flags) {
            keep_flags(static_cast<std::uint32_t>(RFLAGS::Arithmetic));
        }
        if (stub.record == nullptr) {
            if (counted_) as_.store32_imm(engine_field(offsetof(EngineFrame, live_flags)), stub.poll_live);
            if (counted_ && stub.poll_remaining != 0) count(-static_cast<int>(stub.poll_remaining));
            mov_guest_address(scratch0, stub.poll_rip);
            as_.jmp(thunks_.attention);
            note_relative();
            continue;
        }
        if (stub.tag_offset) as_.alu(Alu::Add, scratch0, Mem::frame_indexed(scratch1, *stub.tag_offset));
        as_.lea_rip(scratch1, reinterpret_cast<HostCode>(stub.record));
        note_relative();
        as_.jmp(stub.thunk != nullptr ? stub.thunk : thunks_.call);
        note_relative();
    }
}

}  // namespace undercroft::translate
