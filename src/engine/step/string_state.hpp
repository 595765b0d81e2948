// SPDX-License-Identifier: Apache-2.0
// What the string instructions have in common: counters, index registers, direction, repetition.

#pragma once

#include "engine/step/access.hpp"
#include "engine/step/context.hpp"

#include <algorithm>
#include <cstdint>

namespace undercroft {

class StringState {
public:
    // The most elements that one step executes; interrupts are looked at in between.
    static constexpr std::uint64_t chunk = 4096;

    StringState(Context& context, unsigned size)
        : context_{context}, size_{size}, mask_{mask_of_size(context.instruction.address_size)} {}

    unsigned size() const { return size_; }
    bool backwards() const { return (context_.vcpu.system_flags & RFLAGS::DF) != 0; }
    bool repeats() const { return context_.instruction.repeat != Repeat::None; }
    std::uint64_t source() const { return context_.vcpu.reg(Gpr::Rsi) & mask_; }
    std::uint64_t target() const { return context_.vcpu.reg(Gpr::Rdi) & mask_; }

    // How many elements this step may execute: zero for a repetition whose count is zero.
    std::uint64_t allowance() const {
        if (!repeats()) return 1;
        std::uint64_t limit = (context_.vcpu.system_flags & RFLAGS::TF) != 0 ? 1 : chunk / size_;
        return std::min({limit, count(), context_.element_limit});
    }
    // Elements that fit between an address and the end of its page, going up.
    std::uint64_t in_page(std::uint64_t linear) const { return (4096 - (linear & 0xfff)) / size_; }

    // Moves the index registers and the count past `elements`.
    void advance_source(std::uint64_t elements) { advance(Gpr::Rsi, elements); }
    void advance_target(std::uint64_t elements) { advance(Gpr::Rdi, elements); }
    void consume(std::uint64_t elements) {
        if (!repeats()) return;
        write(Gpr::Rcx, count() - elements);
        context_.elements += elements;
    }
    // When the allowance is used up.
    Outcome outcome() const { return repeats() && count() != 0 ? Outcome::Again : Outcome::Next; }

private:
    std::uint64_t count() const { return context_.vcpu.reg(Gpr::Rcx) & mask_; }
    void write(Gpr name, std::uint64_t value) {
        write_register(context_.vcpu.reg(name), value & mask_, context_.instruction.address_size);
    }
    void advance(Gpr name, std::uint64_t elements) {
        std::uint64_t bytes = elements * size_;
        write(name, context_.vcpu.reg(name) + (backwards() ? ~bytes + 1 : bytes));
    }

    Context& context_;
    unsigned size_;
    std::uint64_t mask_;
};

}  // namespace undercroft
