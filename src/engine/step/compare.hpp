// SPDX-License-Identifier: Apache-2.0
// The flags of CMP, for what compares without being one: CMPS, SCAS.

#pragma once

#include "engine/step/context.hpp"

#include <bit>

namespace undercroft {

inline void set_flags_of_comparison(Vcpu& vcpu, std::uint64_t first, std::uint64_t second, unsigned size) {
    std::uint64_t mask = mask_of_size(size);
    std::uint64_t a = first & mask;
    std::uint64_t b = second & mask;
    std::uint64_t result = (a - b) & mask;
    std::uint64_t sign = (mask >> 1) + 1;
    std::uint64_t flags = 0;
    if (a < b) flags |= RFLAGS::CF;
    if ((std::popcount(result & 0xff) & 1) == 0) flags |= RFLAGS::PF;
    flags |= (a ^ b ^ result) & RFLAGS::AF;
    if (result == 0) flags |= RFLAGS::ZF;
    if ((result & sign) != 0) flags |= RFLAGS::SF;
    if (((a ^ b) & (a ^ result) & sign) != 0) flags |= RFLAGS::OF;
    vcpu.set_arithmetic_flags(flags);
}

}  // namespace undercroft
