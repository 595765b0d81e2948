// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/decode/flag_effects.hpp"

#include "x86/registers.hpp"

namespace undercroft::translate {
namespace {

constexpr auto all_flags = static_cast<std::uint32_t>(RFLAGS::Arithmetic);

bool clears_undefined_flags(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_AND || mnemonic == ZYDIS_MNEMONIC_OR ||
           mnemonic == ZYDIS_MNEMONIC_XOR || mnemonic == ZYDIS_MNEMONIC_TEST;
}

}  // namespace

bool shifts(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_SHL:
        case ZYDIS_MNEMONIC_SHR:
        case ZYDIS_MNEMONIC_SAR:
        case ZYDIS_MNEMONIC_ROL:
        case ZYDIS_MNEMONIC_ROR:
        case ZYDIS_MNEMONIC_RCL:
        case ZYDIS_MNEMONIC_RCR:
        case ZYDIS_MNEMONIC_SHLD:
        case ZYDIS_MNEMONIC_SHRD: return true;
        default: return false;
    }
}

FlagEffects flag_effects(const Instruction& i) {
    FlagEffects effects;
    if (const auto* flags = i.cpu_flags) {
        effects.read = flags->tested & all_flags;
        // "Undefined" flags stay as they were on some processors: let the old values through, but where they
        // are cleared.
        std::uint32_t undefined = clears_undefined_flags(i.mnemonic) ? flags->undefined : 0;
        effects.written = (flags->modified | flags->set_0 | flags->set_1 | undefined) & all_flags;
        effects.modifies = ((effects.written | flags->undefined) & all_flags) != 0;
    }
    if (shifts(i.mnemonic)) {  // a count of zero leaves all flags as they were
        const auto& count = i.operand[i.operand_count_visible - 1u];
        bool known = count.type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
                     (count.imm & (i.operand_width == 64 ? 63 : 31)) != 0;
        if (!known) {
            effects.read = all_flags;
            effects.written = 0;
        } else if (i.mnemonic == ZYDIS_MNEMONIC_ROL || i.mnemonic == ZYDIS_MNEMONIC_ROR ||
                   i.mnemonic == ZYDIS_MNEMONIC_RCL || i.mnemonic == ZYDIS_MNEMONIC_RCR) {
            effects.written = static_cast<std::uint32_t>(RFLAGS::CF | RFLAGS::OF);
        }
        effects.touches = true;
        return effects;
    }
    effects.touches = effects.read != 0 || effects.modifies;
    return effects;
}

}  // namespace undercroft::translate
