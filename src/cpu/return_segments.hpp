// SPDX-License-Identifier: Apache-2.0
// The segments that IRET and far RET return to. Private to cpu/.
//
// Source: Intel SDM vol. 2A IRET, RET (far): the checks between the pops and the commit.

#pragma once

#include "cpu/descriptor_table.hpp"
#include "cpu/stack.hpp"

#include <cstdint>

namespace undercroft {

struct ReturnTarget {
    std::uint64_t rip = 0;
    std::uint64_t rsp = 0;
    Segment code;
    Segment stack;
    std::uint64_t code_descriptor = 0;
    std::uint64_t stack_descriptor = 0;  // meaningless for a null stack selector

    std::uint8_t cpl() const noexcept { return code.selector & 3; }
};

// The code segment of `selector`: null, outside its table, not code, RPL below CPL, DPL, presence.
[[nodiscard]] bool load_return_code(Vcpu& vcpu, std::uint16_t selector, ReturnTarget& target,
                                    Trap& trap) noexcept;

// The stack segment, once the code segment is known. Null is good for 64-bit code below CPL 3 with a matching
// RPL.
[[nodiscard]] bool load_return_stack(Vcpu& vcpu, std::uint16_t selector, ReturnTarget& target,
                                     Trap& trap) noexcept;

// Sets accessed bits where they are clear; the last thing that can fault.
[[nodiscard]] bool mark_return_segments(Vcpu& vcpu, const ReturnTarget& target, bool stack_too,
                                        Trap& trap) noexcept;

// On return to an outer level: DS, ES, FS and GS that the new level may not use become null. Bases stay.
void drop_inner_segments(Vcpu& vcpu) noexcept;

}  // namespace undercroft
