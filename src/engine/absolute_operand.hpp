// SPDX-License-Identifier: Apache-2.0
// A correction of Zydis.
//
// With a 32-bit address and REX.B it takes ModRM.mod = 0 with SIB.base = 5 for r13d as the base, where there
// is none but a displacement.

#pragma once

#include <Zydis/Zydis.h>

#include <span>

namespace undercroft {

inline void correct_absolute_operand(const ZydisDecodedInstruction& instruction,
                                     std::span<ZydisDecodedOperand> operands) {
    const auto& raw = instruction.raw;
    bool no_base = instruction.address_width == 32 && (instruction.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0 &&
                   raw.modrm.mod == 0 && raw.sib.base == 5;
    if (!no_base) return;
    for (ZydisDecodedOperand& operand : operands) {
        bool by_modrm =
            operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
        if (!by_modrm || operand.mem.base != ZYDIS_REGISTER_R13D) continue;
        operand.mem.base = ZYDIS_REGISTER_NONE;
        operand.mem.disp.has_displacement = ZYAN_TRUE;
        operand.mem.disp.value = raw.disp.value;
    }
}

}  // namespace undercroft
