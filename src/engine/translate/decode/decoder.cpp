// SPDX-License-Identifier: Apache-2.0
// Decoding and classification. What is not on a list here runs in the single-step executor, which also
// decides what does not exist on our processor.
#include "engine/translate/decode/flag_effects.hpp"
#include "engine/translate/decode/instruction.hpp"
#include "x86/registers.hpp"

#include <cstring>

namespace undercroft::translate {
namespace {

// Integer instructions without implicit memory operands, privilege or control transfer.
bool is_plain_integer(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_MOV:
        case ZYDIS_MNEMONIC_MOVSX:
        case ZYDIS_MNEMONIC_MOVSXD:
        case ZYDIS_MNEMONIC_MOVZX:
        case ZYDIS_MNEMONIC_LEA:
        case ZYDIS_MNEMONIC_ADD:
        case ZYDIS_MNEMONIC_OR:
        case ZYDIS_MNEMONIC_ADC:
        case ZYDIS_MNEMONIC_SBB:
        case ZYDIS_MNEMONIC_AND:
        case ZYDIS_MNEMONIC_SUB:
        case ZYDIS_MNEMONIC_XOR:
        case ZYDIS_MNEMONIC_CMP:
        case ZYDIS_MNEMONIC_TEST:
        case ZYDIS_MNEMONIC_INC:
        case ZYDIS_MNEMONIC_DEC:
        case ZYDIS_MNEMONIC_NEG:
        case ZYDIS_MNEMONIC_NOT:
        case ZYDIS_MNEMONIC_MUL:
        case ZYDIS_MNEMONIC_IMUL:
        case ZYDIS_MNEMONIC_DIV:
        case ZYDIS_MNEMONIC_IDIV:
        case ZYDIS_MNEMONIC_ROL:
        case ZYDIS_MNEMONIC_ROR:
        case ZYDIS_MNEMONIC_RCL:
        case ZYDIS_MNEMONIC_RCR:
        case ZYDIS_MNEMONIC_SHL:
        case ZYDIS_MNEMONIC_SHR:
        case ZYDIS_MNEMONIC_SAR:
        case ZYDIS_MNEMONIC_SHLD:
        case ZYDIS_MNEMONIC_SHRD:
        case ZYDIS_MNEMONIC_BT:
        case ZYDIS_MNEMONIC_BTS:
        case ZYDIS_MNEMONIC_BTR:
        case ZYDIS_MNEMONIC_BTC:
        case ZYDIS_MNEMONIC_BSF:
        case ZYDIS_MNEMONIC_BSR:
        case ZYDIS_MNEMONIC_XCHG:
        case ZYDIS_MNEMONIC_XADD:
        case ZYDIS_MNEMONIC_CMPXCHG:
        case ZYDIS_MNEMONIC_CMPXCHG8B:
        case ZYDIS_MNEMONIC_CMPXCHG16B:
        case ZYDIS_MNEMONIC_BSWAP:
        case ZYDIS_MNEMONIC_CBW:
        case ZYDIS_MNEMONIC_CWDE:
        case ZYDIS_MNEMONIC_CDQE:
        case ZYDIS_MNEMONIC_CWD:
        case ZYDIS_MNEMONIC_CDQ:
        case ZYDIS_MNEMONIC_CQO:
        case ZYDIS_MNEMONIC_CLC:
        case ZYDIS_MNEMONIC_STC:
        case ZYDIS_MNEMONIC_CMC:
        case ZYDIS_MNEMONIC_LAHF:
        case ZYDIS_MNEMONIC_SAHF:
        case ZYDIS_MNEMONIC_POPCNT:
        case ZYDIS_MNEMONIC_MOVBE: return true;
        default: return false;
    }
}

// x87 and vector instructions with an odd memory operand: implicit, masked, gathered, or a whole state.
bool is_odd_vector(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_MASKMOVQ:
        case ZYDIS_MNEMONIC_MASKMOVDQU:
        case ZYDIS_MNEMONIC_VMASKMOVDQU:
        case ZYDIS_MNEMONIC_VMASKMOVPD:
        case ZYDIS_MNEMONIC_VMASKMOVPS:
        case ZYDIS_MNEMONIC_VPMASKMOVD:
        case ZYDIS_MNEMONIC_VPMASKMOVQ:
        case ZYDIS_MNEMONIC_FNSAVE:
        case ZYDIS_MNEMONIC_FRSTOR:
        case ZYDIS_MNEMONIC_FNSTENV:
        case ZYDIS_MNEMONIC_FLDENV:
        case ZYDIS_MNEMONIC_FXSAVE:
        case ZYDIS_MNEMONIC_FXSAVE64:
        case ZYDIS_MNEMONIC_FXRSTOR:
        case ZYDIS_MNEMONIC_FXRSTOR64: return true;
        default: return false;
    }
}

enum class Family : std::uint8_t { Integer, Vector, Avx, Other };

Family family_of(const ZydisDecodedInstruction& raw) {
    switch (raw.meta.isa_ext) {
        case ZYDIS_ISA_EXT_BMI1:
        case ZYDIS_ISA_EXT_BMI2:
        case ZYDIS_ISA_EXT_LZCNT:
        case ZYDIS_ISA_EXT_ADOX_ADCX:
        case ZYDIS_ISA_EXT_PAUSE: return Family::Integer;
        case ZYDIS_ISA_EXT_X87:
        case ZYDIS_ISA_EXT_MMX:
        case ZYDIS_ISA_EXT_SSE:
        case ZYDIS_ISA_EXT_SSE2:
        case ZYDIS_ISA_EXT_SSE3:
        case ZYDIS_ISA_EXT_SSSE3:
        case ZYDIS_ISA_EXT_SSE4:
        case ZYDIS_ISA_EXT_AES:
        case ZYDIS_ISA_EXT_PCLMULQDQ:
        case ZYDIS_ISA_EXT_SHA: return Family::Vector;
        case ZYDIS_ISA_EXT_AVX:
        case ZYDIS_ISA_EXT_AVX2:
        case ZYDIS_ISA_EXT_AVXAES:
        case ZYDIS_ISA_EXT_VAES:
        case ZYDIS_ISA_EXT_VPCLMULQDQ:
        case ZYDIS_ISA_EXT_FMA:
        case ZYDIS_ISA_EXT_F16C: return Family::Avx;
        default: return Family::Other;
    }
}

bool is_conditional_move_or_set(const ZydisDecodedInstruction& raw) {
    return raw.meta.category == ZYDIS_CATEGORY_CMOV || raw.meta.category == ZYDIS_CATEGORY_SETCC;
}

bool is_hint(const ZydisDecodedInstruction& raw) {
    switch (raw.mnemonic) {
        case ZYDIS_MNEMONIC_NOP:
        case ZYDIS_MNEMONIC_ENDBR64:
        case ZYDIS_MNEMONIC_ENDBR32:
        case ZYDIS_MNEMONIC_PREFETCH:
        case ZYDIS_MNEMONIC_PREFETCHW:
        case ZYDIS_MNEMONIC_PREFETCHNTA:
        case ZYDIS_MNEMONIC_PREFETCHT0:
        case ZYDIS_MNEMONIC_PREFETCHT1:
        case ZYDIS_MNEMONIC_PREFETCHT2: return true;
        default: return false;
    }
}

bool is_fence(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_LFENCE || mnemonic == ZYDIS_MNEMONIC_SFENCE ||
           mnemonic == ZYDIS_MNEMONIC_MFENCE;
}

// Every explicit register operand must be one that the host may use in the guest's place.
bool has_ordinary_registers(const Instruction& i) {
    for (unsigned n = 0; n < i.raw.operand_count; ++n) {
        const auto& operand = i.operand[n];
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        switch (ZydisRegisterGetClass(operand.reg.value)) {
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
    switch (i.raw.mnemonic) {
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
    const auto& raw = i.raw;
    if (is_hint(raw)) return Kind::Nop;
    Family family = family_of(raw);
    bool vector_moves =
        raw.mnemonic == ZYDIS_MNEMONIC_MOVNTI || is_fence(raw.mnemonic);  // SSE2 by CPUID, integer by nature
    bool integer = family == Family::Integer || vector_moves || is_plain_integer(raw.mnemonic) ||
                   is_conditional_move_or_set(raw);
    if (!integer) {
        if (family == Family::Other || is_odd_vector(raw.mnemonic)) return Kind::Step;
        if (!assumptions.vector_usable) return Kind::Step;
        if (family == Family::Avx && !assumptions.avx_usable) return Kind::Step;
        if (raw.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || raw.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP)
            return Kind::Step;
    }
    if (raw.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW) return Kind::Step;
    if (!has_ordinary_registers(i)) return Kind::Step;
    if (is_far_bit_test(i)) return raw.operand_width == 16 ? Kind::Step : Kind::BitString;
    return Kind::Copy;
}

Kind push_kind(const Instruction& i) {
    const auto& operand = i.operand[0];
    if (i.raw.operand_width != 64) return Kind::Step;
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(operand.reg.value) != ZYDIS_REGCLASS_GPR64)
        return Kind::Step;
    return Kind::Push;
}

Kind pop_kind(const Instruction& i) {
    const auto& operand = i.operand[0];
    bool plain = i.raw.operand_width == 64 && operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
                 ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_GPR64;
    return plain ? Kind::Pop : Kind::Step;
}

Kind branch_kind(const Instruction& i) {
    const auto& raw = i.raw;
    if (raw.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || i.has_prefix(ZYDIS_ATTRIB_HAS_OPERANDSIZE))
        return Kind::Step;
    bool direct = raw.operand_count > 0 && i.operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    switch (raw.meta.category) {
        case ZYDIS_CATEGORY_CALL: return direct ? Kind::CallDirect : Kind::CallIndirect;
        case ZYDIS_CATEGORY_RET: return raw.mnemonic == ZYDIS_MNEMONIC_RET ? Kind::Return : Kind::Step;
        case ZYDIS_CATEGORY_UNCOND_BR:
            if (raw.mnemonic != ZYDIS_MNEMONIC_JMP) return Kind::Step;
            return direct ? Kind::JumpDirect : Kind::JumpIndirect;
        case ZYDIS_CATEGORY_COND_BR:
            // LOOP and JRCXZ read rcx, not flags.
            return raw.cpu_flags != nullptr && raw.cpu_flags->tested != 0 && raw.opcode != 0xe0 &&
                           raw.opcode != 0xe1
                       ? Kind::JumpConditional
                       : Kind::Step;
        default: return Kind::Step;
    }
}

Kind string_kind(const Instruction& i) {
    bool rep = i.has_prefix(ZYDIS_ATTRIB_HAS_REP);
    if (!rep || i.raw.address_width != 64) return Kind::Step;
    switch (i.raw.mnemonic) {
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
    auto from_class = ZydisRegisterGetClass(from.reg.value);
    if (from_class == ZYDIS_REGCLASS_SEGMENT) return Kind::ReadSystem;
    if (ZydisRegisterGetClass(to.reg.value) == ZYDIS_REGCLASS_SEGMENT) {
        // MOV SS casts a shadow, MOV CS is none.
        bool casts = to.reg.value == ZYDIS_REGISTER_SS || to.reg.value == ZYDIS_REGISTER_CS;
        return casts ? Kind::Step : Kind::Helper;
    }
    if (user) return Kind::Copy;
    switch (from.reg.value) {
        case ZYDIS_REGISTER_CR0:
        case ZYDIS_REGISTER_CR2:
        case ZYDIS_REGISTER_CR3:
        case ZYDIS_REGISTER_CR4: return Kind::ReadSystem;
        default: return to.reg.value == ZYDIS_REGISTER_CR3 ? Kind::WriteCr3 : Kind::Copy;
    }
}

Kind kind_of(const Instruction& i, const Assumptions& assumptions, bool user) {
    const auto& raw = i.raw;
    if (raw.mnemonic == ZYDIS_MNEMONIC_IRETQ) return Kind::InterruptReturn;
    switch (raw.meta.category) {
        case ZYDIS_CATEGORY_CALL:
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_COND_BR: return branch_kind(i);
        case ZYDIS_CATEGORY_STRINGOP: return string_kind(i);
        default: break;
    }
    switch (raw.mnemonic) {
        case ZYDIS_MNEMONIC_PUSH: return push_kind(i);
        case ZYDIS_MNEMONIC_POP: return pop_kind(i);
        case ZYDIS_MNEMONIC_LEAVE: return raw.operand_width == 64 ? Kind::Leave : Kind::Step;
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
        case ZYDIS_MNEMONIC_INVLPG: return user ? Kind::Step : Kind::HelperEnds;
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

bool leaves_flags(Kind kind) {
    switch (kind) {
        case Kind::Nop:
        case Kind::ReadTsc:
        case Kind::ReadSystem:
        case Kind::WriteCr3:
        case Kind::WriteSegmentBase:
        case Kind::Helper:
        case Kind::HelperEnds:
        case Kind::SaveVectors:
        case Kind::RestoreVectors: return true;
        default: return false;
    }
}

bool is_high_byte(ZydisRegister reg) {
    return reg == ZYDIS_REGISTER_AH || reg == ZYDIS_REGISTER_CH || reg == ZYDIS_REGISTER_DH ||
           reg == ZYDIS_REGISTER_BH;
}

}  // namespace

Decoder::Decoder() { ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }

bool Decoder::decode(std::span<const std::byte> bytes, std::uint64_t rip, const Assumptions& assumptions,
                     bool user, Instruction& out) const {
    if (!ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder_, bytes.data(), bytes.size(), &out.raw, out.operand.data()))) {
        return false;
    }
    std::memcpy(out.bytes.data(), bytes.data(), out.raw.length);
    out.rip = rip;
    out.memory_operand = -1;
    out.high_byte = false;
    for (unsigned n = 0; n < out.raw.operand_count_visible; ++n) {
        const auto& operand = out.operand[n];
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN) {
            out.memory_operand = static_cast<std::int8_t>(n);
        }
        if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_high_byte(operand.reg.value))
            out.high_byte = true;
    }
    out.kind = kind_of(out, assumptions, user);
    const auto* memory = out.memory();
    if (memory != nullptr && memory->mem.type != ZYDIS_MEMOP_TYPE_MEM) out.kind = Kind::Step;
    out.flags = flag_effects(out);
    out.may_fault = memory != nullptr || (out.kind != Kind::Copy && out.kind != Kind::Nop) ||
                    out.raw.mnemonic == ZYDIS_MNEMONIC_DIV || out.raw.mnemonic == ZYDIS_MNEMONIC_IDIV;
    out.flags.shown = out.kind == Kind::Step || out.kind == Kind::Syscall || out.kind == Kind::PushFlags;
    if (leaves_flags(out.kind)) out.flags = {.shown = out.flags.shown};
    if (out.kind == Kind::PopFlags || out.kind == Kind::Sysret || out.kind == Kind::InterruptReturn) {
        out.flags = {.read = 0, .written = static_cast<std::uint32_t>(RFLAGS::Arithmetic), .touches = true};
    }
    return true;
}

}  // namespace undercroft::translate
