// SPDX-License-Identifier: Apache-2.0
// The hidden parts that SYSCALL, SYSENTER and kin load without reading a descriptor. Private to cpu/.
//
// Source: Intel SDM vol. 2B SYSCALL, SYSRET, SYSENTER, SYSEXIT.

#pragma once

#include "x86/segment.hpp"

#include <cstdint>

namespace undercroft {

enum class CodeSize : std::uint8_t { Bits32, Bits64 };

constexpr Segment flat_code(std::uint64_t selector, unsigned dpl, CodeSize size) {
    unsigned attributes = 0x9b | dpl << 5 | (size == CodeSize::Bits64 ? 0xa000u : 0xc000u);
    return {.selector = static_cast<std::uint16_t>(selector),
            .attributes = static_cast<std::uint16_t>(attributes),
            .limit = 0xffffffff,
            .base = 0};
}

constexpr Segment flat_stack(std::uint64_t selector, unsigned dpl) {
    return {.selector = static_cast<std::uint16_t>(selector),
            .attributes = static_cast<std::uint16_t>(0xc093 | dpl << 5),
            .limit = 0xffffffff,
            .base = 0};
}

// What a stack switch in long mode leaves in SS, and what a null selector leaves elsewhere: unusable but for
// 64-bit code.
constexpr Segment null_segment(std::uint64_t selector) {
    return {.selector = static_cast<std::uint16_t>(selector), .attributes = 0, .limit = 0, .base = 0};
}

}  // namespace undercroft
