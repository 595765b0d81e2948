// SPDX-License-Identifier: Apache-2.0
// The guest's stack: SS:rSP with the width that the mode and SS.B give.
//
// The functions that access memory leave rSP alone when they fault (false, context.trap set).

#pragma once

#include "engine/step/access.hpp"

#include <cstdint>

namespace undercroft {

// 8 in 64-bit mode, else 4 or 2.
inline unsigned stack_width(const Vcpu& vcpu) {
    if (vcpu.code_64bit()) return 8;
    return Segment::DB::get(vcpu.seg(SegmentName::SS).attributes) != 0 ? 4 : 2;
}

// rSP moved by `bytes`, within the stack's width; the register's other bits stay.
inline void move_stack_pointer(Vcpu& vcpu, std::uint64_t bytes) {
    std::uint64_t& rsp = vcpu.reg(Gpr::Rsp);
    std::uint64_t mask = mask_of_size(stack_width(vcpu));
    rsp = (rsp & ~mask) | ((rsp + bytes) & mask);
}

// The offset in SS of the byte `bytes` away from the top.
inline std::uint64_t stack_offset(const Vcpu& vcpu, std::uint64_t bytes) {
    return (vcpu.reg(Gpr::Rsp) + bytes) & mask_of_size(stack_width(vcpu));
}

[[nodiscard]] inline bool push(Context& context, std::uint64_t value, unsigned size) {
    Vcpu& vcpu = context.vcpu;
    std::uint64_t down = ~std::uint64_t{size} + 1;
    if (!write_segment(context, SegmentName::SS, stack_offset(vcpu, down), size, value)) return false;
    move_stack_pointer(vcpu, down);
    return true;
}

// Reads the value on top, `skip` bytes up, without popping it.
[[nodiscard]] inline bool peek(Context& context, unsigned size, std::uint64_t& value,
                               std::uint64_t skip = 0) {
    return read_segment(context, SegmentName::SS, stack_offset(context.vcpu, skip), size, value);
}

}  // namespace undercroft
