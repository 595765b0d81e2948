// SPDX-License-Identifier: Apache-2.0
// What the confinement check knows of the registers at one place of emitted code.
//
// Every register has a value: a guest number (a symbol nobody knows, plus a known offset), or something on
// the way from a guest address to host memory. A probe of the software TLB makes, step by step:
//     Symbol      r10: the guest address
//     Index       r11: selects an entry (its bits are within a mask)
//     Offset      r10: address minus the entry's tag, and once compared: Bounded, at most `limit`
//     HostPage    r11: that entry's host page
//     Host        their sum: a pointer into a region of 4096 - limit checked bytes
//     Distance    r11: that entry's distance: what is added to guest addresses of the checked range
//     End         r10: Bounded, plus rcx elements of a string; compared, these are checked
//     Passed      rdi, rsi: what was Host before a string instruction, until the distance is taken off
//     Scaled      r10: a guest number times a scale
//     Base        a host pointer minus that: what stands for the base register in a group with an index
//     Record      the address of a record for the thunk

#pragma once

#include "x86/paging.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace undercroft::fuzz {

struct Value {
    enum class Kind : std::uint8_t {
        Symbol,
        Index,
        Offset,
        Bounded,
        HostPage,
        Host,
        Distance,
        End,
        Passed,
        Scaled,
        Base,
        Record
    };
    Kind kind = Kind::Symbol;
    std::uint32_t id = 0;      // of the symbol, or of the probe
    std::uint32_t symbol = 0;  // Distance: what it is added to; Scaled, Base: what is multiplied. End: the
                               // count's, with its offset
    int scale = 1;
    std::int64_t offset = 0;  // plus this. Index: the mask. Record: the address

    bool operator==(const Value&) const = default;
    bool is_guests() const { return kind == Kind::Symbol || kind == Kind::Scaled; }
    // What a guest must never see or compute with.
    bool is_secret() const {
        return kind == Kind::HostPage || kind == Kind::Host || kind == Kind::Distance || kind == Kind::Base ||
               kind == Kind::Passed;
    }
};

// One probe, which its index's id names.
struct Probe {
    Access access = Access::Read;
    std::int64_t limit = -1;  // what the comparison allows at most; below zero: not compared
    std::size_t resume = 0;   // where the host page, or the distance, has been loaded; zero: not yet
    Value address = {};       // that is checked
    bool by_distance = false;
    Value count = {};  // if of a symbol: so many elements of this width are checked
    int width = 0;
    std::int64_t size() const { return 4096 - limit; }
};

// Slots of the frame: distances of groups, the two spills, the homes of the guest's r10 and r11.
inline constexpr int distance_count = 17;
inline constexpr int first_home = distance_count + 2;
inline constexpr int slot_count = first_home + 2;

struct AbstractState {
    std::array<Value, 16> reg;
    std::array<Value, slot_count> slot;
    bool compared = false;  // the flags are those of `cmp`, of this in this register:
    Value compared_value;
    unsigned compared_reg = 0;
    std::int64_t compared_with = 0;
    Value few;  // a number that is known to be at most few_limit; of no symbol: none is
    std::int64_t few_limit = 0;
};

}  // namespace undercroft::fuzz
