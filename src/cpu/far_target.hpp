// SPDX-License-Identifier: Apache-2.0
// Where a far JMP or CALL leads: a code segment, or in long mode a call gate to one. Private to cpu/.
//
// Source: Intel SDM vol. 2A CALL, JMP (far, protected mode and IA-32e); vol. 3A section 5.8.3.1 (64-bit call
// gates).

#pragma once

#include "cpu/vcpu.hpp"
#include "x86/trap.hpp"

#include <cstdint>

namespace undercroft {

enum class FarBranch : std::uint8_t { Jump, Call };

struct FarTarget {
    std::uint64_t rip = 0;
    Segment code;  // selector with the new CPL as its RPL
    std::uint64_t descriptor = 0;
    std::uint8_t cpl = 0;  // below the current one only for calls through a gate
    bool through_gate = false;
};

// Makes all checks up to the target's address and presence; protected and long mode. Call gates outside long
// mode, task gates and TSSs are left out: #GP(selector).
[[nodiscard]] bool resolve_far_target(Vcpu& vcpu, FarBranch branch, std::uint16_t selector,
                                      std::uint64_t offset, FarTarget& target, Trap& trap) noexcept;

}  // namespace undercroft
