// SPDX-License-Identifier: Apache-2.0
// The sixteen conditions of Jcc, SETcc and CMOVcc. Source: Intel SDM vol. 1 appendix B.

#pragma once

#include "cpu/vcpu.hpp"

namespace undercroft {

// `code`: the low four bits of the opcode.
inline bool condition_holds(const Vcpu& vcpu, unsigned code) {
    unsigned low = vcpu.arithmetic >> 8;
    bool overflow = (vcpu.arithmetic & 1) != 0;
    bool carry = (low & RFLAGS::CF) != 0;
    bool zero = (low & RFLAGS::ZF) != 0;
    bool sign = (low & RFLAGS::SF) != 0;
    bool holds = false;
    switch (code >> 1) {
        case 0: holds = overflow; break;
        case 1: holds = carry; break;
        case 2: holds = zero; break;
        case 3: holds = carry || zero; break;
        case 4: holds = sign; break;
        case 5: holds = (low & RFLAGS::PF) != 0; break;
        case 6: holds = sign != overflow; break;
        default: holds = zero || sign != overflow; break;
    }
    return holds != ((code & 1) != 0);
}

}  // namespace undercroft
