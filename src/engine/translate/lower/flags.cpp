// SPDX-License-Identifier: Apache-2.0
// Where the guest's arithmetic flags are, and moving them.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {
namespace {

constexpr Mem spilled_rax = engine_field(offsetof(EngineFrame, spill_rax));

void flags_to_frame(Assembler& as) {
    as.lahf();
    as.seto_al();
    as.store16(frame_flags, rax);
}

void frame_to_flags(Assembler& as) {
    as.load16_zero_extended(rax, frame_flags);
    as.add_al_imm(0x7f);  // 1 + 0x7f overflows: OF
    as.sahf();
}

}  // namespace

void Lowering::save_flags(std::uint32_t live) {
    if (live == 0 || in_frame_) return;
    CHECK(in_host_, "live flags are nowhere");
    take_scratch1();
    as_.mov(scratch1, rax);
    flags_to_frame(as_);
    as_.mov(rax, scratch1);
    in_frame_ = true;
}

void Lowering::need_flags() {
    if (in_host_) return;
    CHECK(in_frame_, "wanted flags are nowhere");
    take_scratch1();
    as_.mov(scratch1, rax);
    frame_to_flags(as_);
    as_.mov(rax, scratch1);
    in_host_ = true;
}

void Lowering::need_flags_keeping_scratch() {
    if (in_host_) return;
    CHECK(in_frame_, "wanted flags are nowhere");
    as_.store(spilled_rax, rax);
    frame_to_flags(as_);
    as_.load(rax, spilled_rax);
    in_host_ = true;
}

// An instruction that reads flags, or leaves some live ones alone while writing others, needs them in the
// host.
void Lowering::prepare_flags_for(const Instruction& i, bool scratch1_free) {
    if (!i.flags.touches) return;
    if (i.flags.read == 0 && (i.live_after & ~i.flags.written) == 0) return;
    if (scratch1_free)
        need_flags();
    else
        need_flags_keeping_scratch();
}

}  // namespace undercroft::translate
