// SPDX-License-Identifier: Apache-2.0
// How often control reached the guest's kernel, by kind: for --stats. Not guest state.

#pragma once

#include "x86/trap.hpp"

#include <array>
#include <cstdint>

namespace undercroft {

struct TrapCounts {
    std::array<std::uint64_t, 32> exception{};  // by vector; NMI among them
    std::uint64_t software_interrupt = 0;       // INT n, INT3, INTO
    std::uint64_t external_interrupt = 0;
    std::uint64_t system_call = 0;  // SYSCALL
    std::uint64_t tlb_miss = 0;     // of a TLB that the guest fills; they count as page faults, too

    void count(const Trap& trap) noexcept {
        auto vector = static_cast<unsigned>(trap.vector);
        if (trap.kind == TrapKind::SoftwareInterrupt)
            ++software_interrupt;
        else if (vector < exception.size())
            ++exception[vector];
        else
            ++external_interrupt;
    }
};

}  // namespace undercroft
