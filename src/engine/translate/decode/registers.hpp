// SPDX-License-Identifier: Apache-2.0
// Register names of the decoder as the processor's numbers.

#pragma once

#include <Zydis/Zydis.h>

namespace undercroft::translate {

// The general register number of an operand register, or -1: r10b, r10w, r10d, r10 are all 10; ah is 0.
constexpr int gpr_number(ZydisRegister reg) {
    if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15)  // ax to r15w, eax to r15d, rax to r15
        return static_cast<int>((reg - ZYDIS_REGISTER_AX) % 16);
    if (reg < ZYDIS_REGISTER_AL || reg > ZYDIS_REGISTER_R15B) return -1;
    int n = reg - ZYDIS_REGISTER_AL;  // al cl dl bl, then ah ch dh bh, then spl bpl sil dil, then r8b..
    return n < 4 ? n : n - 4;
}
static_assert(ZYDIS_REGISTER_R15 - ZYDIS_REGISTER_AX == 47 && ZYDIS_REGISTER_R15B - ZYDIS_REGISTER_AL == 19);

constexpr bool is_gpr64(ZydisRegister reg) { return reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15; }

}  // namespace undercroft::translate
