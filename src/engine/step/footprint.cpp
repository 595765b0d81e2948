// SPDX-License-Identifier: Apache-2.0
#include "engine/step/reencode.hpp"
#include "engine/step/register_names.hpp"

#include <Zydis/Zydis.h>

#include <initializer_list>

namespace undercroft {
namespace {

void add_register(Footprint& footprint, const ZydisDecodedInstruction& source,
                  const ZydisDecodedOperand& operand) {
    ZydisRegister reg = operand.reg.value;
    bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    Operand ours = register_operand(reg, 0);
    auto bit = static_cast<std::uint16_t>(1u << ours.number);
    switch (ours.kind) {
        case OperandKind::HighByte: footprint.high_byte = true; [[fallthrough]];
        case OperandKind::Register:
            footprint.general |= bit;
            if (written) footprint.general_written |= bit;
            return;
        case OperandKind::Vector:
            footprint.vector |= bit;
            if (written) footprint.vector_written |= bit;
            footprint.needs |= source.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? Needs::Avx : Needs::Sse;
            return;
        default: break;
    }
    if (between(reg, ZYDIS_REGISTER_MM0, ZYDIS_REGISTER_MM7)) {
        footprint.needs |= Needs::X87 | Needs::Mmx;
    } else if (between(reg, ZYDIS_REGISTER_ST0, ZYDIS_REGISTER_X87TAG)) {
        footprint.needs |= Needs::X87;
    } else if (reg == ZYDIS_REGISTER_MXCSR) {
        footprint.needs |= source.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? Needs::Avx : Needs::Sse;
    } else if (!between(reg, ZYDIS_REGISTER_FLAGS, ZYDIS_REGISTER_RFLAGS)) {
        footprint.supported = false;
    }
}

// What Zydis does not say through operands.
std::uint8_t needs_by_name(const ZydisDecodedInstruction& source) {
    switch (source.mnemonic) {
        case ZYDIS_MNEMONIC_LDMXCSR:
        case ZYDIS_MNEMONIC_STMXCSR:
        case ZYDIS_MNEMONIC_CVTSS2SI:  // from memory they name no vector register, but obey MXCSR
        case ZYDIS_MNEMONIC_CVTSD2SI:
        case ZYDIS_MNEMONIC_CVTTSS2SI:
        case ZYDIS_MNEMONIC_CVTTSD2SI: return Needs::Sse;
        case ZYDIS_MNEMONIC_VLDMXCSR:
        case ZYDIS_MNEMONIC_VSTMXCSR:
        case ZYDIS_MNEMONIC_VCVTSS2SI:
        case ZYDIS_MNEMONIC_VCVTSD2SI:
        case ZYDIS_MNEMONIC_VCVTTSS2SI:
        case ZYDIS_MNEMONIC_VCVTTSD2SI: return Needs::Avx;
        case ZYDIS_MNEMONIC_CVTPS2PI:
        case ZYDIS_MNEMONIC_CVTPD2PI:
        case ZYDIS_MNEMONIC_CVTTPS2PI:
        case ZYDIS_MNEMONIC_CVTTPD2PI: return Needs::Sse | Needs::X87 | Needs::Mmx;
        case ZYDIS_MNEMONIC_EMMS: return Needs::X87 | Needs::Mmx;
        case ZYDIS_MNEMONIC_FWAIT: return Needs::X87 | Needs::Wait | Needs::Control;
        case ZYDIS_MNEMONIC_FNINIT:
        case ZYDIS_MNEMONIC_FNCLEX:
        case ZYDIS_MNEMONIC_FLDCW:
        case ZYDIS_MNEMONIC_FNSTCW:
        case ZYDIS_MNEMONIC_FNSTSW:
        case ZYDIS_MNEMONIC_FLDENV:
        case ZYDIS_MNEMONIC_FNSTENV:
        case ZYDIS_MNEMONIC_FRSTOR:
        case ZYDIS_MNEMONIC_FENI8087_NOP:
        case ZYDIS_MNEMONIC_FDISI8087_NOP:
        case ZYDIS_MNEMONIC_FSETPM287_NOP:
        case ZYDIS_MNEMONIC_FNSAVE: return Needs::X87 | Needs::Control;
        default: break;
    }
    return source.meta.category == ZYDIS_CATEGORY_X87_ALU ? Needs::X87 : std::uint8_t{0};
}

// The x87 instructions that run whatever exception is pending. Source: Intel SDM vol. 1 section 8.3.12.
bool ignores_pending(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_FNINIT:
        case ZYDIS_MNEMONIC_FNCLEX:
        case ZYDIS_MNEMONIC_FNSTCW:
        case ZYDIS_MNEMONIC_FNSTSW:
        case ZYDIS_MNEMONIC_FNSTENV:
        case ZYDIS_MNEMONIC_FNSAVE:
        case ZYDIS_MNEMONIC_FENI8087_NOP:
        case ZYDIS_MNEMONIC_FDISI8087_NOP:
        case ZYDIS_MNEMONIC_FSETPM287_NOP: return true;
        default: return false;
    }
}

}  // namespace

Footprint footprint_of(const ZydisDecodedInstruction& source, const ZydisDecodedOperand* operands) {
    Footprint footprint;
    for (unsigned i = 0; i < source.operand_count; i++) {
        const ZydisDecodedOperand& operand = operands[i];
        bool hidden = operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
        if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) add_register(footprint, source, operand);
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (hidden || operand.mem.type != ZYDIS_MEMOP_TYPE_MEM)) {
            footprint.supported = false;
        }
    }
    footprint.needs |= needs_by_name(source);
    if ((footprint.needs & Needs::X87) != 0 && !ignores_pending(source.mnemonic))
        footprint.needs |= Needs::NoPending;
    if (source.cpu_flags != nullptr) {
        const ZydisAccessedFlags& flags = *source.cpu_flags;
        footprint.flags_written = (flags.modified | flags.set_0 | flags.set_1 | flags.undefined) != 0;
        footprint.flags_read = flags.tested != 0 || footprint.flags_written;
    }
    return footprint;
}

Assignment assign(const Footprint& footprint) {
    unsigned taken = footprint.general & ~(1u << 4);
    auto first_free = [&](std::initializer_list<HostRegister> candidates) {
        for (HostRegister reg : candidates) {
            if ((taken >> reg & 1) == 0) {
                taken |= 1u << reg;
                return reg;
            }
        }
        return Assignment::none;
    };
    Assignment assignment;
    // Registers that need REX are no choice beside a high byte.
    if ((footprint.general >> 4 & 1) != 0) {
        assignment.stack_pointer =
            footprint.high_byte ? first_free({2, 1, 0, 6, 7}) : first_free({8, 9, 10, 11});
    }
    assignment.frame = first_free({7, 8, 9, 10, 11});
    assignment.memory = footprint.high_byte ? first_free({6, 7, 1, 2}) : first_free({6, 7, 8, 9, 10, 11});
    return assignment;
}

}  // namespace undercroft
