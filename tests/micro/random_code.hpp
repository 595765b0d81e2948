// SPDX-License-Identifier: Apache-2.0
// Random but valid instruction sequences: integer, stack, branch, string and vector instructions with
// register and memory operands. What they do is defined; where they fault, the architecture says how.
//
// Register use: rsi points into data, rbp at a page border within it, r14 into a hole; rsp is the stack.
// Those four are never written (but rsp by balanced pushes and pops). All others hold anything.

#pragma once

#include "runtime/cpu.hpp"

namespace micro {

class Random {
public:
    explicit Random(u64 seed) : state_{seed * 0x9e3779b97f4a7c15 + 0x2545f4914f6cdd1d} {}
    u64 next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_;
    }
    unsigned below(unsigned limit) { return static_cast<unsigned>(next() >> 33) % limit; }
    bool one_in(unsigned n) { return below(n) == 0; }

private:
    u64 state_;
};

class RandomCode {
public:
    // Writes to `at`; `holes`: whether accesses through r14, which fault, are allowed.
    // `newer`: whether BMI, ADX, MOVBE and AVX2 are there.
    RandomCode(u8* at, Random& random, bool holes, bool newer)
        : start_{at}, at_{at}, random_{random}, holes_{holes}, newer_{newer} {}

    void instruction();
    // Back to the start until the counter at r14 + `counter` has run down, then INT $0x81.
    void finish(int counter);
    u64 size() const { return static_cast<u64>(at_ - start_); }

private:
    struct Operand {
        bool memory = false;
        u8 reg = 0;  // the register, or the base
        int displacement = 0;
        bool indexed = false;
        u8 index = 0, scale = 0;
    };

    void byte(unsigned value) { *at_++ = static_cast<u8>(value); }
    void bytes(u64 value, unsigned count) {
        for (unsigned i = 0; i < count; ++i) byte(static_cast<unsigned>(value >> 8 * i & 0xff));
    }

    u8 free_register();
    u8 byte_register(bool rex_follows);
    Operand register_operand(unsigned size);
    Operand memory_operand();
    Operand any_operand(unsigned size) {
        return random_.one_in(2) ? memory_operand() : register_operand(size);
    }
    // `opcode`: one byte, or 0x0f00 | second byte, or 0x0f3800 | third. `prefix`: 0 or a mandatory one.
    void encode(unsigned size, unsigned opcode, unsigned reg, const Operand& operand, unsigned prefix = 0);

    // Three-byte VEX; `map` and `pp` as the manual numbers them, `l`: 256 bits.
    struct Vex {
        unsigned map, pp, opcode;
        bool w = false, l = false;
    };
    void encode_vex(const Vex& vex, unsigned reg, unsigned second, const Operand& operand);
    void modrm(unsigned reg, const Operand& operand);

    void arithmetic();
    void immediate_arithmetic();
    void move();
    void shift();
    void unary();
    void bit();
    void extend();
    void conditional();
    void multiply();
    void stack();
    void branch();
    void exchange();
    void string();
    void vector();
    void flags();
    void bit_field();
    void wide_vector();
    void indirect();
    void bit_string();

    u8* start_;
    u8* at_;
    Random& random_;
    bool holes_;
    bool newer_;
    unsigned pushed_ = 0;
};

}  // namespace micro
