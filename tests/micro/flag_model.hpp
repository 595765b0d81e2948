// SPDX-License-Identifier: Apache-2.0
// What arithmetic instructions compute and which flags they leave, in plain C++. Intel SDM vol. 1 appendix A.

#pragma once

#include "runtime/cpu.hpp"

namespace micro {

inline constexpr u64 arithmetic = RFLAGS::Arithmetic;
inline constexpr u64 operands[] = {0,
                                   1,
                                   2,
                                   0x7f,
                                   0x80,
                                   0xff,
                                   0x7fff,
                                   0x8000,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   ~0ull,
                                   0x0123456789abcdef,
                                   0xfedcba9876543210};

// A result of the operand's size; only the flags in `defined` are.
struct Expected {
    u64 value;
    u64 flags;
    u64 defined;
};

inline u64 mask_of(unsigned bits) { return bits == 64 ? ~0ull : (1ull << bits) - 1; }

inline u64 result_flags(u64 value, unsigned bits) {
    unsigned ones = 0;
    for (unsigned i = 0; i < 8; ++i) ones += value >> i & 1;
    return (value == 0 ? RFLAGS::ZF : 0) | ((value >> (bits - 1) & 1) ? RFLAGS::SF : 0) |
           (ones % 2 == 0 ? RFLAGS::PF : 0);
}

inline Expected add_model(u64 a, u64 b, u64 carry, unsigned bits) {
    const u64 mask = mask_of(bits);
    a &= mask, b &= mask;
    const u64 value = (a + b + carry) & mask;
    const bool carry_out = value < a || (carry != 0 && value == a);
    const u64 flags = (carry_out ? RFLAGS::CF : 0) | ((a ^ b ^ value) & 0x10 ? RFLAGS::AF : 0) |
                      (((a ^ value) & (b ^ value)) >> (bits - 1) & 1 ? RFLAGS::OF : 0);
    return {value, flags | result_flags(value, bits), arithmetic};
}

inline Expected sub_model(u64 a, u64 b, u64 borrow, unsigned bits) {
    const u64 mask = mask_of(bits);
    a &= mask, b &= mask;
    const u64 value = (a - b - borrow) & mask;
    const u64 flags = ((a < b || (borrow != 0 && a == b)) ? RFLAGS::CF : 0) |
                      ((a ^ b ^ value) & 0x10 ? RFLAGS::AF : 0) |
                      (((a ^ b) & (a ^ value)) >> (bits - 1) & 1 ? RFLAGS::OF : 0);
    return {value, flags | result_flags(value, bits), arithmetic};
}

inline Expected logic_model(u64 value, unsigned bits) {
    value &= mask_of(bits);
    return {value, result_flags(value, bits), arithmetic & ~RFLAGS::AF};
}

}  // namespace micro
