// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/decode/kind.hpp"

#include "engine/translate/decode/classification.hpp"

#include <algorithm>

namespace undercroft::translate {
namespace {

// Every explicit register operand must be one that the host may use in the guest's place.
bool has_ordinary_registers(const Instruction& i) {
    for (unsigned n = 0; n < i.operand_count; ++n) {
        const auto& operand = i.operand[n];
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        switch (ZydisRegisterGetClass(operand.reg)) {
            case ZYDIS_REGCLASS_SEGMENT:
            case ZYDIS_REGCLASS_CONTROL:
            case ZYDIS_REGCLASS_DEBUG:
            case ZYDIS_REGCLASS_TEST:
            case ZYDIS_REGCLASS_MASK: return false;
            default: break;
        }
    }
    return true;
}

// BT and kin with a register bit offset reach beyond their operand.
bool is_far_bit_test(const Instruction& i) {
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_BT:
        case ZYDIS_MNEMONIC_BTS:
        case ZYDIS_MNEMONIC_BTR:
        case ZYDIS_MNEMONIC_BTC:
            return i.operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
                   i.operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
        default: return false;
    }
}

Kind copy_kind(const Instruction& i, const Assumptions& assumptions) {
    // Between registers PREFETCHW is undefined on some processors; PAUSE with REX.B is XCHG with r8.
    if (i.opcode == 0x0d && i.opcode_map == ZYDIS_OPCODE_MAP_0F && i.bytes[i.modrm_offset] >> 6 == 3)
        return Kind::Step;
    if (i.mnemonic == ZYDIS_MNEMONIC_PAUSE && i.has_prefix(ZYDIS_ATTRIB_HAS_REX) &&
        (i.bytes[i.rex_offset] & 1) != 0)
        return Kind::Step;
    if (is_hint(i.mnemonic)) return Kind::Nop;
    Family family = family_of(i.isa_ext);
    bool vector_moves =
        i.mnemonic == ZYDIS_MNEMONIC_MOVNTI || is_fence(i.mnemonic);  // SSE2 by CPUID, integer by nature
    bool integer = family == Family::Integer || vector_moves || is_plain_integer(i.mnemonic) ||
                   is_conditional_move_or_set(i.category);
    if (!integer) {
        if (family == Family::Other || is_odd_vector(i.mnemonic)) return Kind::Step;
        if (!assumptions.vector_usable) return Kind::Step;
        if (family == Family::Avx && !assumptions.avx_usable) return Kind::Step;
        if (i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || i.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP)
            return Kind::Step;
    }
    if (i.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW) return Kind::Step;
    if (!has_ordinary_registers(i)) return Kind::Step;
    if (is_far_bit_test(i)) {
        // The bit's address wraps at 32 bits, if the operand's does.
        return i.operand_width == 16 || i.address_width == 32 ? Kind::Step : Kind::BitString;
    }
    return Kind::Copy;
}

Kind push_kind(const Instruction& i) {
    const auto& operand = i.operand[0];
    if (i.operand_width != 64) return Kind::Step;
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && !is_gpr64(operand.reg)) return Kind::Step;
    return Kind::Push;
}

Kind pop_kind(const Instruction& i) {
    const auto& operand = i.operand[0];
    bool plain =
        i.operand_width == 64 && operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_gpr64(operand.reg);
    return plain ? Kind::Pop : Kind::Step;
}

// Whatever it means: AMD's near branches obey it, Intel's do not.
bool has_operand_size_prefix(const Instruction& i) {
    const auto* prefixes = i.bytes.data();
    return std::find(prefixes, prefixes + i.prefix_count, 0x66) != prefixes + i.prefix_count;
}

Kind branch_kind(const Instruction& i) {
    if (i.branch_type == ZYDIS_BRANCH_TYPE_FAR || has_operand_size_prefix(i)) return Kind::Step;
    bool direct = i.operand_count > 0 && i.operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    switch (i.category) {
        case ZYDIS_CATEGORY_CALL: return direct ? Kind::CallDirect : Kind::CallIndirect;
        case ZYDIS_CATEGORY_RET: return i.mnemonic == ZYDIS_MNEMONIC_RET ? Kind::Return : Kind::Step;
        case ZYDIS_CATEGORY_UNCOND_BR:
            if (i.mnemonic != ZYDIS_MNEMONIC_JMP) return Kind::Step;
            return direct ? Kind::JumpDirect : Kind::JumpIndirect;
        case ZYDIS_CATEGORY_COND_BR:
            // LOOP and JRCXZ read rcx, not flags.
            return i.cpu_flags != nullptr && i.cpu_flags->tested != 0 && i.opcode != 0xe0 && i.opcode != 0xe1
                       ? Kind::JumpConditional
                       : Kind::Step;
        default: return Kind::Step;
    }
}

Kind string_kind(const Instruction& i) {
    bool rep = i.has_prefix(ZYDIS_ATTRIB_HAS_REP);
    if (!rep || i.address_width != 64) return Kind::Step;
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_MOVSB:
        case ZYDIS_MNEMONIC_MOVSW:
        case ZYDIS_MNEMONIC_MOVSD:
        case ZYDIS_MNEMONIC_MOVSQ: {
            auto segment = i.operand[1].mem.segment;
            return segment == ZYDIS_REGISTER_FS || segment == ZYDIS_REGISTER_GS ? Kind::Step : Kind::String;
        }
        case ZYDIS_MNEMONIC_STOSB:
        case ZYDIS_MNEMONIC_STOSW:
        case ZYDIS_MNEMONIC_STOSD:
        case ZYDIS_MNEMONIC_STOSQ: return Kind::String;
        default: return Kind::Step;
    }
}

// Moves between general registers and what the vCPU's frame holds.
Kind move_kind(const Instruction& i, bool user) {
    const auto& to = i.operand[0];
    const auto& from = i.operand[1];
    if (to.type != ZYDIS_OPERAND_TYPE_REGISTER || from.type != ZYDIS_OPERAND_TYPE_REGISTER) return Kind::Copy;
    auto from_class = ZydisRegisterGetClass(from.reg);
    if (from_class == ZYDIS_REGCLASS_SEGMENT) return Kind::ReadSystem;
    if (ZydisRegisterGetClass(to.reg) == ZYDIS_REGCLASS_SEGMENT) {
        // MOV SS casts a shadow, MOV CS is none.
        bool casts = to.reg == ZYDIS_REGISTER_SS || to.reg == ZYDIS_REGISTER_CS;
        return casts ? Kind::Step : Kind::Helper;
    }
    if (user) return Kind::Copy;
    switch (from.reg) {
        case ZYDIS_REGISTER_CR0:
        case ZYDIS_REGISTER_CR2:
        case ZYDIS_REGISTER_CR3:
        case ZYDIS_REGISTER_CR4: return Kind::ReadSystem;
        default: return to.reg == ZYDIS_REGISTER_CR3 ? Kind::WriteCr3 : Kind::Copy;
    }
}

}  // namespace

Kind kind_of(const Instruction& i, const Assumptions& assumptions, bool user) {
    if (i.mnemonic == ZYDIS_MNEMONIC_IRETQ) return Kind::InterruptReturn;
    switch (i.category) {
        case ZYDIS_CATEGORY_CALL:
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_COND_BR: return branch_kind(i);
        case ZYDIS_CATEGORY_STRINGOP: return string_kind(i);
        default: break;
    }
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_PUSH: return push_kind(i);
        case ZYDIS_MNEMONIC_POP: return pop_kind(i);
        case ZYDIS_MNEMONIC_LEAVE: return i.operand_width == 64 ? Kind::Leave : Kind::Step;
        case ZYDIS_MNEMONIC_CLI: return user ? Kind::Step : Kind::Cli;
        case ZYDIS_MNEMONIC_STI: return user ? Kind::Step : Kind::Sti;
        case ZYDIS_MNEMONIC_STAC:
        case ZYDIS_MNEMONIC_CLAC: return user || !assumptions.smap ? Kind::Step : Kind::StacClac;
        case ZYDIS_MNEMONIC_PUSHFQ: return Kind::PushFlags;
        case ZYDIS_MNEMONIC_POPFQ: return Kind::PopFlags;
        case ZYDIS_MNEMONIC_RDTSC:
        case ZYDIS_MNEMONIC_RDTSCP: return !user || assumptions.user_tsc ? Kind::ReadTsc : Kind::Step;
        case ZYDIS_MNEMONIC_RDFSBASE:
        case ZYDIS_MNEMONIC_RDGSBASE: return assumptions.fsgsbase ? Kind::ReadSystem : Kind::Step;
        case ZYDIS_MNEMONIC_WRFSBASE:
        case ZYDIS_MNEMONIC_WRGSBASE: return assumptions.fsgsbase ? Kind::WriteSegmentBase : Kind::Step;
        case ZYDIS_MNEMONIC_MOV: {
            Kind kind = move_kind(i, user);
            return kind == Kind::Copy ? copy_kind(i, assumptions) : kind;
        }
        case ZYDIS_MNEMONIC_CPUID: return Kind::Helper;
        case ZYDIS_MNEMONIC_IN:
        case ZYDIS_MNEMONIC_RDMSR: return user ? Kind::Step : Kind::Helper;
        case ZYDIS_MNEMONIC_OUT:
        case ZYDIS_MNEMONIC_WRMSR:
        case ZYDIS_MNEMONIC_VMCALL:
        case ZYDIS_MNEMONIC_VMMCALL:
        case ZYDIS_MNEMONIC_INVLPG:
        case ZYDIS_MNEMONIC_INVPCID: return user ? Kind::Step : Kind::HelperEnds;
        case ZYDIS_MNEMONIC_XSAVE:
        case ZYDIS_MNEMONIC_XSAVE64:
        case ZYDIS_MNEMONIC_XSAVEOPT:
        case ZYDIS_MNEMONIC_XSAVEOPT64: return assumptions.xsave_usable ? Kind::SaveVectors : Kind::Step;
        case ZYDIS_MNEMONIC_XRSTOR:
        case ZYDIS_MNEMONIC_XRSTOR64: return assumptions.xsave_usable ? Kind::RestoreVectors : Kind::Step;
        case ZYDIS_MNEMONIC_SWAPGS: return user ? Kind::Step : Kind::SwapGs;
        case ZYDIS_MNEMONIC_SYSCALL: return Kind::Syscall;
        case ZYDIS_MNEMONIC_SYSRET: return Kind::Sysret;
        case ZYDIS_MNEMONIC_CLD: return Kind::Nop;  // code with DF set is not translated
        default: return copy_kind(i, assumptions);
    }
}

}  // namespace undercroft::translate
