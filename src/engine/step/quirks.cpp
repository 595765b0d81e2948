// SPDX-License-Identifier: Apache-2.0
#include "engine/step/quirks.hpp"

#include "x86/prefixes.hpp"

#include <Zydis/Zydis.h>

namespace undercroft {
namespace {

bool has_prefix(const ZydisDecodedInstruction& source, std::uint8_t prefix) {
    for (unsigned n = 0; n < source.raw.prefix_count; ++n) {
        if (source.raw.prefixes[n].value == prefix) return true;
    }
    return false;
}

bool is_near_branch(const ZydisDecodedInstruction& source) {
    switch (source.meta.category) {
        case ZYDIS_CATEGORY_RET:
            return source.mnemonic == ZYDIS_MNEMONIC_RET && source.opcode < 0xc8;  // no IRET
        case ZYDIS_CATEGORY_CALL:
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_COND_BR: return source.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
        default: return false;
    }
}

// In 64-bit mode AMD's near branches obey the operand-size prefix, if REX.W does not undo it; Intel's ignore
// it.
void set_branch_size(const ZydisDecodedInstruction& source, bool amd, Instruction& out) {
    if (out.code_size != CodeSize::Code64 || !is_near_branch(source)) return;
    bool rex_w = (source.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && source.raw.rex.W != 0;
    bool is_short = amd && has_prefix(source, 0x66) && !rex_w;
    out.operand_size = is_short ? 2 : 8;
    if (out.operand[0].kind == OperandKind::Register || out.operand[0].kind == OperandKind::Memory)
        out.operand[0].size = out.operand_size;
    if (out.operand[0].kind == OperandKind::Memory) out.memory.size = out.operand_size;
}

// AMD's LOOPE and LOOPNE take their condition from a repeat prefix, if there is one.
void set_loop_condition(const ZydisDecodedInstruction& source, bool amd, Instruction& out) {
    bool conditional = source.mnemonic == ZYDIS_MNEMONIC_LOOPE || source.mnemonic == ZYDIS_MNEMONIC_LOOPNE;
    if (!amd || !conditional) return;
    for (unsigned n = 0; n < source.raw.prefix_count; ++n) {
        if (source.raw.prefixes[n].value == 0xf2) out.mnemonic = ZYDIS_MNEMONIC_LOOPNE;
        if (source.raw.prefixes[n].value == 0xf3) out.mnemonic = ZYDIS_MNEMONIC_LOOPE;
    }
}

}  // namespace

// AMD's UD0 and UD1 have no ModRM byte, and it knows nothing of 0F A6 and 0F A7, VIA's PadLock.
bool is_undefined_so_far(std::span<const std::uint8_t> bytes, bool amd) {
    std::size_t at = 0;
    while (at < bytes.size() && is_prefix(bytes[at])) ++at;
    if (!amd || at + 2 > bytes.size() || bytes[at] != 0x0f) return false;
    switch (bytes[at + 1]) {
        case 0xa6:
        case 0xa7:
        case 0xb9:
        case 0xff: return true;
        default: return false;
    }
}

bool apply_quirks(const ZydisDecodedInstruction& source, bool amd, Instruction& out) {
    set_branch_size(source, amd, out);
    set_loop_condition(source, amd, out);
    // PREFETCH and PREFETCHW have memory operands only; Intel's table has a NOP there.
    bool is_prefetch = source.opcode_map == ZYDIS_OPCODE_MAP_0F && source.opcode == 0x0d;
    return !(amd && is_prefetch && source.raw.modrm.mod == 3);
}

}  // namespace undercroft
