// SPDX-License-Identifier: Apache-2.0
// Which memory accesses of a block can share one check of the software TLB.
//
// Registers are followed through moves, and through additions of constants (push, pop, call, ret, add, sub,
// inc, dec, lea), so that accesses at known distances from each other are found: those through the same base
// value, or the same base and index values. The first of them checks the whole range once and keeps, in a
// frame slot, what to add to a guest address (or to base and displacement, if there is an index) to reach
// host memory; the others only add. If the range crosses a page or some of it is not plain memory, the
// block's unmerged variant runs instead, from that instruction on.

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
    std::int8_t base = -1;   // the leader's registers
    std::int8_t index = -1;  // -1: none
    std::uint8_t scale = 0;  // log2
    std::int32_t low = 0;    // the range, relative to the values at which the registers began to be tracked
    std::int32_t high = 0;
    std::int32_t bias = 0;  // the same of the leader's base + index * scale, minus low
    unsigned members = 0;

    std::uint32_t size() const { return static_cast<std::uint32_t>(high - low); }
};

struct AccessGroups {
    static constexpr unsigned limit = 16;           // frame slots
    static constexpr std::int32_t max_range = 192;  // bytes: the wider, the likelier a page border inside
    // Behind a branch that a trace follows, for an access that lies as close to the others: what a loop
    // walks through.
    static constexpr std::int32_t max_walk = 1024;
    std::array<AccessGroup, limit> group;
    unsigned count = 0;
};

// Sets `group`, `leads_group` and `group_shift` of each instruction that takes part.
AccessGroups merge_accesses(std::span<Instruction> block);

}  // namespace undercroft::translate
