// SPDX-License-Identifier: Apache-2.0
// Instructions seen before, by their heads: the bytes before displacement and immediate (prefixes, opcode,
// ModRM, SIB).
//
// Two instructions with the same head differ in nothing but these two values, and code repeats a few thousand
// heads all the time. Zydis takes ten times as long as a look here.

#pragma once

#include "engine/translate/decode/instruction.hpp"
#include "mmu/zeroed_array.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft::translate {

// Where an instruction keeps its two values: offsets and sizes in bytes, and the operands that they are of.
struct Values {
    std::uint8_t displacement_offset = 0;
    std::uint8_t displacement_size = 0;
    std::uint8_t immediate_offset = 0;
    std::uint8_t immediate_size = 0;
    bool immediate_signed = false;
    std::int8_t displacement_operand = -1;
    std::int8_t immediate_operand = -1;
};

class KnownForms {
public:
    KnownForms() : slots_{size} {}

    // Fills in form, bytes and operands. False: not known.
    bool find(std::span<const std::byte> bytes, bool user, Instruction& out) const noexcept;
    // `i`, decoded from `bytes`, is known from now on, unless it is of a kind that the table cannot hold.
    void add(std::span<const std::byte> bytes, bool user, const Instruction& i,
             const Values& values) noexcept;
    void forget() noexcept { generation_ += 2; }

private:
    static constexpr std::size_t size = 8192;
    static constexpr std::size_t most_operands = 4;

    struct Slot {
        std::uint64_t head;
        std::uint64_t stamp;  // its generation, and who may execute it
        Values values;
        Form form;
        std::array<Operand, most_operands> operand;
    };

    std::uint64_t stamp(bool user) const noexcept { return generation_ | static_cast<std::uint64_t>(user); }
    static std::size_t index(std::uint64_t head, bool user) noexcept {
        return ((head ^ static_cast<std::uint64_t>(user)) * 0x9e3779b97f4a7c15 >> 32) % size;
    }

    ZeroedArray<Slot> slots_;
    std::uint64_t generation_ = 2;  // even
};

}  // namespace undercroft::translate
