// SPDX-License-Identifier: Apache-2.0
// Which memory accesses of a block can share one check of the software TLB.
//
// Accesses through the same base register, its value unchanged but for constants (push, pop, add, sub, lea),
// lie at known distances. The first of them checks the whole range once and keeps, in a frame slot, what to
// add to the base register to reach host memory; the others only add. If the range crosses a page or some of
// it is not plain memory, the block's unmerged variant runs instead, from that instruction on.

#pragma once

#include "engine/translate/decode/instruction.hpp"
#include "x86/paging.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace undercroft::translate {

struct AccessGroup {
    Access access = Access::Read;  // a write if any member writes
    Access leader_access = Access::Read;
    std::int8_t base = -1;
    std::int32_t low = 0;  // the range, relative to the base register's value when it began to be tracked
    std::int32_t high = 0;
    std::int32_t bias = 0;  // base register's offset at the leader, minus low
    unsigned members = 0;

    std::uint32_t size() const { return static_cast<std::uint32_t>(high - low); }
};

struct AccessGroups {
    static constexpr unsigned limit = 8;            // frame slots
    static constexpr std::int32_t max_range = 192;  // bytes: the wider, the likelier a page border inside
    std::array<AccessGroup, limit> group;
    unsigned count = 0;
};

// Sets `group` and `leads_group` of each instruction that takes part.
AccessGroups merge_accesses(std::span<Instruction> block);

}  // namespace undercroft::translate
