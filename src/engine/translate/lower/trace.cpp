// SPDX-License-Identifier: Apache-2.0
// Branches in the middle of a trace, and the ways out of it.
//
// A trace follows the way a branch is expected to take; the other way is an exit to the block there. As long
// as no backward branch was followed, such an exit is a conditional jump that is linked to its target like
// that of a block. Behind one, exits poll the attention word, since the loop that they belong to may not do
// it elsewhere.
//
// The trace of an idle loop goes round through a callback, which measures how long it does so. On every other
// way out it forgets that: what comes next is another wait.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {

void Lowering::note_way_back(const Instruction& i) {
    if (i.branch_target() <= i.rip) went_back_ = true;
}

// `jump`: a conditional jump, just emitted, that leaves for `target`. Flags are in the host's.
void Lowering::leave_trace(const Instruction& i, HostCode jump, std::uint64_t target) {
    if (counted_ || block_.idle || !is_plain_exit(i, target)) {
        side_exits_.push_back({.branch = &i,
                               .jump = jump,
                               .target = target,
                               .remaining = remaining_ - 1,
                               .in_frame = in_frame_,
                               .went_back = went_back_});
        return;
    }
    plain_exit(target, block_.mode, i.exit_live, jump, true);
}

void Lowering::follow_conditional(const Instruction& i) {
    need_flags();
    bool taken = i.follow == Follow::Taken;
    Condition condition = condition_of(i);
    HostCode jump = as_.address(as_.jcc(taken ? inverse(condition) : condition));
    leave_trace(i, jump, taken ? i.next_rip() : i.branch_target());
    if (taken) note_way_back(i);
}

// The return address is in scratch0, all flags are in the frame.
void Lowering::follow_return(const Instruction& i) {
    if (!Assembler::fits_int32(i.predicted)) take_scratch1();
    as_.cmp_constant(scratch0, i.predicted, scratch1);
    clobber_flags();
    HostCode jump = as_.address(as_.jcc(Condition::NE));
    side_exits_.push_back({.branch = &i, .jump = jump, .remaining = remaining_ - 1, .in_frame = true});
    if (i.predicted <= i.rip) went_back_ = true;
}

void Lowering::side_exits() {
    for (const SideExit& exit : side_exits_) {
        CHECK(as_.has_room(), "the code cache was to be emptied before this block");
        const Instruction& i = *exit.branch;
        memory_.patch_jump(exit.jump, as_.here());
        unsaved_group_ = distance_in_scratch1_ = -1;
        in_frame_ = exit.in_frame;
        went_back_ = exit.went_back;
        in_host_ = i.kind != Kind::Return;
        if (counted_ && exit.remaining != 0) count(-static_cast<int>(exit.remaining));
        remaining_ = 1;
        forget_spin();
        if (i.kind == Kind::Return)
            go_indirect(i, popped_by(i));
        else
            exit_to(i, exit.target, i.exit_live, block_.mode);
    }
}

void Lowering::forget_spin() {
    if (block_.idle) as_.store_imm(engine_field(offsetof(EngineFrame, spin_exit)), 0);
}

}  // namespace undercroft::translate
