// SPDX-License-Identifier: Apache-2.0
// Branches, and the ways out of a block.
//
// Direct exits start at a stub and are linked to their target when first taken. Within a page they go there
// freely; to another page through a guard: "the target's virtual page still is this page instance". Backward
// ones poll the attention word, so that every loop does. Indirect ones go through the jump cache, whose
// entries verify themselves and poll.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {
namespace {

constexpr std::uint32_t every_flag = static_cast<std::uint32_t>(RFLAGS::Arithmetic);
constexpr Mem operand_field = engine_field(offsetof(EngineFrame, operand));

}  // namespace

BlockExit* Lowering::new_exit(std::uint64_t target, AccessMode mode, bool flags_in_host) {
    auto* exit = memory_.record<BlockExit>();
    note_record(Relocation::Kind::Exit, exit);
    exit->function = exit_taken;
    exit->from = &block_;
    exit->target = target;
    exit->mode = mode;
    exit->flags_in_host = flags_in_host;
    last_exit_ = exit;
    ++exits_;
    return exit;
}

// Looks up from generated code when somebody asks; guest execution goes on at `rip`.
void Lowering::poll(std::uint64_t rip, std::uint32_t live, unsigned remaining) {
    as_.cmp32_imm(frame_attention, 0);
    ColdStub stub{.jumps = {as_.address(as_.jcc(Condition::NE))},
                  .poll_rip = rip,
                  .poll_live = live,
                  .poll_remaining = remaining};
    if (counted_) {
        take_scratch1();
        as_.load(scratch1, engine_field(offsetof(EngineFrame, instructions)));
        as_.alu(Alu::Cmp, scratch1, engine_field(offsetof(EngineFrame, instruction_limit)));
        stub.jumps[1] = as_.address(as_.jcc(Condition::GE));
    }
    cold_.push_back(stub);
    clobber_flags();
}

// By a jump that is patched freely: its displacement is at `jump`.
BlockExit* Lowering::plain_exit(std::uint64_t target, AccessMode mode, std::uint32_t live, HostCode jump,
                                bool conditional) {
    bool flags_in_host = in_host_ && live != 0;
    BlockExit* exit = new_exit(target, mode, flags_in_host);
    exit->live = live;
    exit->jump = jump;
    exit->conditional = conditional;
    cold_.push_back(
        {.jumps = {jump}, .record = exit, .exit = exit, .save_flags = flags_in_host && !in_frame_});
    return exit;
}

BlockExit* Lowering::exit_to(const Instruction& i, std::uint64_t target, std::uint32_t live,
                             AccessMode mode) {
    if (is_plain_exit(i, target)) return plain_exit(target, mode, live, as_.address(as_.jmp()), false);
    save_flags(live);
    if (target <= i.rip || went_back_ || in_shadow_) poll(target, live, 0);
    BlockExit* exit = new_exit(target, mode, false);
    exit->live = live;
    if (block_.idle && target == block_.rip) exit->function = round_closed;
    HostCode seldom = nullptr;
    // Closes a loop, unless it is a call.
    bool closes = same_page(target) && target <= i.rip && i.kind != Kind::CallDirect;
    if (closes && trace_heat_ != 0 && !block_.idle) seldom = count_rounds(*exit);
    if (!same_page(target)) {
        std::size_t guard = cmp_exec_id(mode, target, no_page_instance);
        exit->guard = as_.address(guard);
        seldom = as_.address(as_.jcc(Condition::NE));
        clobber_flags();
    }
    exit->jump = as_.address(as_.jmp());
    cold_.push_back({.jumps = {exit->jump, seldom}, .record = exit, .exit = exit});
    return exit;
}

// Of the loop that the exit closes (cache/block.hpp). Returns the jump that is taken with the last of them.
HostCode Lowering::count_rounds(BlockExit& exit) {
    exit.rounds_left = exit.rounds = trace_heat_;
    exit.counts = true;
    as_.dec32_rip(reinterpret_cast<HostCode>(&exit.rounds_left));
    clobber_flags();
    return as_.address(as_.jcc(Condition::E));
}

void Lowering::jump_direct(const Instruction& i, const Edges& edges) {
    if (i.follow != Follow::Nothing) return note_way_back(i);
    exit_to(i, i.branch_target(), edges.taken_live, block_.mode);
}

void Lowering::jump_conditional(const Instruction& i, const Edges& edges) {
    if (i.follow != Follow::Nothing) return follow_conditional(i);
    need_flags();
    std::uint64_t target = i.branch_target();
    bool in_frame = in_frame_;
    BlockExit* taken = nullptr;
    if (is_plain_exit(i, target)) {
        HostCode jump = as_.address(as_.jcc(condition_of(i)));
        taken = plain_exit(target, block_.mode, edges.taken_live, jump, true);
    } else {
        std::size_t over = as_.jcc(inverse(condition_of(i)));
        exit_to(i, target, edges.taken_live, block_.mode);
        as_.bind(over);
        in_host_ = true;
        in_frame_ = in_frame;
        forget_spin();
    }
    BlockExit* next = exit_to(i, i.next_rip(), edges.next_live, block_.mode);
    if (taken == nullptr || !is_plain_exit(i, i.next_rip())) return;
    CHECK(next == taken + 1, "their records lie side by side");
    taken->to_sibling = 1;
    next->to_sibling = -1;
}

void Lowering::go_indirect(const Instruction& i, std::int32_t stack_moved) {
    // A branch to a non-canonical address is noticed only when nothing is found there, but faults here.
    Site* site = new_site(i, step_instruction, 0, Access::Read, 0);
    site->stack_moved = stack_moved;
    as_.store32_imm(engine_field(offsetof(EngineFrame, branch_record)), memory_.record_offset(site));
    note(Relocation::Kind::RecordOffset, as_.here() - 4);
    constexpr auto index_mask = static_cast<std::int32_t>(EngineFrame::jump_cache_size - 1);
    std::size_t array = offsetof(EngineFrame, jump_cache) + static_cast<std::size_t>(block_.mode) *
                                                                EngineFrame::jump_cache_size *
                                                                sizeof(HostCode);
    as_.mov32(scratch1, scratch0);
    as_.alu32_imm(Alu::And, scratch1, index_mask);
    Mem slot = engine_field(array);
    slot.index = scratch1;
    slot.scale = 3;
    as_.jmp(slot);
}

void Lowering::jump_indirect(const Instruction& i) {
    save_flags(every_flag);
    load_operand_to_frame(i, i.operand[0]);  // leaves it in scratch0, too
    go_indirect(i, 0);
}

void Lowering::call_direct(const Instruction& i, const Edges& edges) {
    save_flags(live_before(i));
    push_return_address(i);
    if (i.follow != Follow::Nothing) return note_way_back(i);
    exit_to(i, i.branch_target(), edges.taken_live, block_.mode);
}

// A call to a non-canonical address faults before it pushes. (Jumps and returns write nothing, so they may
// find out when nothing is found there.) Target in scratch0.
void Lowering::refuse_non_canonical(const Instruction& i) {
    take_scratch1();
    as_.mov(scratch1, scratch0);
    as_.shl_imm(scratch1, 16);
    as_.sar_imm(scratch1, 16);
    as_.alu(Alu::Cmp, scratch1, scratch0);
    Site* site = new_site(i, step_instruction, 0, Access::Read, 0);
    cold_.push_back({.jumps = {as_.address(as_.jcc(Condition::NE))}, .record = site});
}

void Lowering::call_indirect(const Instruction& i) {
    save_flags(every_flag);
    load_operand_to_frame(i, i.operand[0]);
    refuse_non_canonical(i);
    push_return_address(i);
    as_.load(scratch0, operand_field);
    go_indirect(i, -8);
}

}  // namespace undercroft::translate
