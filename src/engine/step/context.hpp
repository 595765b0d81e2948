// SPDX-License-Identifier: Apache-2.0
// Context: one instruction in flight. Handlers take it, and everything they call.

#pragma once

#include "cpu/vcpu.hpp"
#include "engine/step/instruction.hpp"
#include "x86/trap.hpp"

#include <cstdint>

namespace undercroft {

class NativeCode;

struct Context {
    Vcpu& vcpu;
    const Instruction& instruction;
    AccessMode mode;  // of the instruction's explicit data accesses
    NativeCode& native;
    std::uint8_t breakpoints = 0;         // bits 3..0 of DR6: data breakpoints that accesses have met
    Trap trap{};                          // with Outcome::Fault
    std::uint64_t element_limit = ~0ull;  // the most elements of a repeated string instruction
    std::uint64_t elements = 0;           // of those, done
    bool paused = false;                  // it was PAUSE

    std::uint64_t next_rip() const {
        std::uint64_t next = vcpu.rip + instruction.length;
        return instruction.code_size == CodeSize::Code64 ? next : next & 0xffffffff;
    }
    Outcome fault(Vector vector) {
        trap = Trap::fault(vector);
        return Outcome::Fault;
    }
    Outcome fault(Vector vector, std::uint32_t error_code) {
        trap = Trap::fault(vector, error_code);
        return Outcome::Fault;
    }
    bool is_64bit() const { return instruction.code_size == CodeSize::Code64; }
};

// The low `size` bytes (1..8).
constexpr std::uint64_t mask_of_size(unsigned size) { return ~0ull >> (64 - 8 * size); }

constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned size) {
    unsigned shift = 64 - 8 * size;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << shift) >> shift);
}

// The value of a register after a write of `size` bytes: 4-byte writes clear the top half, smaller ones keep
// the rest.
constexpr void write_register(std::uint64_t& reg, std::uint64_t value, unsigned size) {
    if (size >= 4) {
        reg = value & mask_of_size(size);
    } else {
        reg = (reg & ~mask_of_size(size)) | (value & mask_of_size(size));
    }
}

}  // namespace undercroft
