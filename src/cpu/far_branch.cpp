// SPDX-License-Identifier: Apache-2.0
// Far JMP, far CALL, far RET.
//
// Source: Intel SDM vol. 2A CALL, JMP; vol. 2B RET. What is left out: see far_target.hpp.
#include "cpu/far_target.hpp"
#include "cpu/flat_segments.hpp"
#include "cpu/instructions.hpp"
#include "cpu/return_segments.hpp"

namespace undercroft {
namespace {

void branch_in_real_mode(Vcpu& vcpu, std::uint16_t selector, std::uint64_t offset) noexcept {
    Segment& code = vcpu.seg(SegmentName::CS);
    code.selector = selector;
    code.base = std::uint64_t{selector} << 4;
    vcpu.rip = offset;
}

void enter(Vcpu& vcpu, const FarTarget& target) noexcept {
    vcpu.seg(SegmentName::CS) = target.code;
    vcpu.cpl = target.cpl;
    vcpu.rip = target.rip;
}

// Through a gate to a more privileged level: the TSS's stack, with the old one's pointer on it.
bool call_inward(Vcpu& vcpu, const FarTarget& target, std::uint64_t next_rip, Trap& trap) noexcept {
    unsigned offset = target.cpl * 8u + 4;
    std::uint64_t top = 0;
    if (offset + 7 > vcpu.tr.limit) return raise(trap, Vector::TS, selector_error(vcpu.tr.selector));
    if (!read_system(vcpu, vcpu.tr.base + offset, top, trap)) return false;
    if (!mark_accessed(vcpu, target.code.selector, target.descriptor, trap)) return false;
    StackView stack{.is_64bit = true, .mode = vcpu.system_access_mode()};
    StackItems frame = {next_rip, vcpu.seg(SegmentName::CS).selector, vcpu.reg(Gpr::Rsp),
                        vcpu.seg(SegmentName::SS).selector};
    if (!write_stack(vcpu, stack, top, 8, frame, 0, 4, trap)) return false;
    vcpu.reg(Gpr::Rsp) = top - 32;
    vcpu.seg(SegmentName::SS) = null_segment(target.cpl);
    enter(vcpu, target);
    return true;
}

bool return_in_real_mode(Vcpu& vcpu, unsigned bytes, std::uint16_t bytes_to_pop, Trap& trap) noexcept {
    StackView stack = current_stack(vcpu);
    StackItems items{};  // IP, CS
    if (!read_stack(vcpu, stack, vcpu.reg(Gpr::Rsp), bytes, 2, items, trap)) return false;
    if (items[0] > 0xffff) return raise(trap, Vector::GP, 0);
    move_stack_pointer(vcpu, stack, bytes * 2 + bytes_to_pop);
    branch_in_real_mode(vcpu, static_cast<std::uint16_t>(items[1]), items[0]);
    return true;
}

}  // namespace

bool far_jump(Vcpu& vcpu, std::uint16_t selector, std::uint64_t offset, Trap& trap) noexcept {
    if (!protected_mode(vcpu)) {
        if (offset > 0xffff) return raise(trap, Vector::GP, 0);
        branch_in_real_mode(vcpu, selector, offset);
        return true;
    }
    FarTarget target;
    if (!resolve_far_target(vcpu, FarBranch::Jump, selector, offset, target, trap)) return false;
    if (!mark_accessed(vcpu, target.code.selector, target.descriptor, trap)) return false;
    enter(vcpu, target);
    return true;
}

bool far_call(Vcpu& vcpu, std::uint16_t selector, std::uint64_t offset, OperandSize size,
              std::uint64_t next_rip, Trap& trap) noexcept {
    auto bytes = static_cast<unsigned>(size);
    StackView stack = current_stack(vcpu);
    StackItems frame = {next_rip, vcpu.seg(SegmentName::CS).selector};
    if (!protected_mode(vcpu)) {
        if (offset > 0xffff) return raise(trap, Vector::GP, 0);
        if (!write_stack(vcpu, stack, vcpu.reg(Gpr::Rsp), bytes, frame, 0, 2, trap)) return false;
        move_stack_pointer(vcpu, stack, ~std::uint64_t{bytes * 2} + 1);
        branch_in_real_mode(vcpu, selector, offset);
        return true;
    }
    FarTarget target;
    if (!resolve_far_target(vcpu, FarBranch::Call, selector, offset, target, trap)) return false;
    if (target.cpl != vcpu.cpl) return call_inward(vcpu, target, next_rip, trap);
    if (target.through_gate) {  // a 64-bit gate pushes quadwords on the 64-bit stack
        bytes = 8;
        stack.is_64bit = true;
    }
    if (!mark_accessed(vcpu, target.code.selector, target.descriptor, trap)) return false;
    if (!write_stack(vcpu, stack, vcpu.reg(Gpr::Rsp), bytes, frame, 0, 2, trap)) return false;
    move_stack_pointer(vcpu, stack, ~std::uint64_t{bytes * 2} + 1);
    enter(vcpu, target);
    return true;
}

bool far_return(Vcpu& vcpu, OperandSize size, std::uint16_t bytes_to_pop, Trap& trap) noexcept {
    auto bytes = static_cast<unsigned>(size);
    if (!protected_mode(vcpu)) return return_in_real_mode(vcpu, bytes, bytes_to_pop, trap);
    StackView view = current_stack(vcpu);
    StackItems items{};  // RIP, CS
    StackItems outer{};  // RSP, SS
    ReturnTarget target;
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    if (!read_stack(vcpu, view, rsp, bytes, 2, items, trap)) return false;
    auto selector = static_cast<std::uint16_t>(items[1]);
    if (!load_return_code(vcpu, selector, target, trap)) return false;
    bool outward = target.cpl() > vcpu.cpl;
    if (outward) {
        if (!read_stack(vcpu, view, rsp + bytes * 2 + bytes_to_pop, bytes, 2, outer, trap)) return false;
        if (!load_return_stack(vcpu, static_cast<std::uint16_t>(outer[1]), target, trap)) return false;
    }
    target.rip = items[0];
    if (!check_target(vcpu, target.code, target.rip, trap)) return false;
    if (!mark_return_segments(vcpu, target, outward, trap)) return false;

    vcpu.seg(SegmentName::CS) = target.code;
    vcpu.cpl = target.cpl();
    vcpu.rip = target.rip;
    if (!outward) {
        move_stack_pointer(vcpu, view, bytes * 2 + bytes_to_pop);
        return true;
    }
    vcpu.seg(SegmentName::SS) = target.stack;
    vcpu.reg(Gpr::Rsp) = outer[0];
    move_stack_pointer(vcpu, current_stack(vcpu), bytes_to_pop);
    drop_inner_segments(vcpu);
    return true;
}

}  // namespace undercroft
