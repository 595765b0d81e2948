// SPDX-License-Identifier: Apache-2.0
#include "cpu/return_segments.hpp"

#include "cpu/flat_segments.hpp"

namespace undercroft {

bool load_return_code(Vcpu& vcpu, std::uint16_t selector, ReturnTarget& target, Trap& trap) noexcept {
    if (is_null(selector)) return raise(trap, Vector::GP, 0);
    if (!read_descriptor(vcpu, selector, 0, target.code_descriptor, trap)) return false;
    Segment& code = target.code;
    code = loaded_segment(target.code_descriptor, selector);
    unsigned rpl = selector & 3;
    bool right_level = is_conforming(code) ? code.dpl() <= rpl : code.dpl() == rpl;
    if (!code.is_code() || rpl < vcpu.cpl || !right_level || has_reserved_size(vcpu, code)) {
        return raise(trap, Vector::GP, selector_error(selector));
    }
    return code.present() ? true : raise(trap, Vector::NP, selector_error(selector));
}

bool load_return_stack(Vcpu& vcpu, std::uint16_t selector, ReturnTarget& target, Trap& trap) noexcept {
    unsigned rpl = selector & 3;
    Segment& stack = target.stack;
    if (is_null(selector)) {
        bool allowed =
            vcpu.long_mode() && target.code.is_64bit_code() && target.cpl() != 3 && rpl == target.cpl();
        if (!allowed) return raise(trap, Vector::GP, 0);
        stack = null_segment(selector);
        return true;
    }
    if (!read_descriptor(vcpu, selector, 0, target.stack_descriptor, trap)) return false;
    stack = loaded_segment(target.stack_descriptor, selector);
    if (rpl != target.cpl() || !is_writable_data(stack) || stack.dpl() != target.cpl()) {
        return raise(trap, Vector::GP, selector_error(selector));
    }
    return stack.present() ? true : raise(trap, Vector::SS, selector_error(selector));
}

bool mark_return_segments(Vcpu& vcpu, const ReturnTarget& target, bool stack_too, Trap& trap) noexcept {
    if (!mark_accessed(vcpu, target.code.selector, target.code_descriptor, trap)) return false;
    if (!stack_too || is_null(target.stack.selector)) return true;
    return mark_accessed(vcpu, target.stack.selector, target.stack_descriptor, trap);
}

void drop_inner_segments(Vcpu& vcpu) noexcept {
    for (SegmentName name : {SegmentName::ES, SegmentName::DS, SegmentName::FS, SegmentName::GS}) {
        Segment& segment = vcpu.seg(name);
        if (is_null(segment.selector) || segment.dpl() >= vcpu.cpl) continue;
        if (segment.is_code() && is_conforming(segment)) continue;
        std::uint64_t base = segment.base;
        segment = null_segment(0);
        segment.base = base;
    }
}

}  // namespace undercroft
