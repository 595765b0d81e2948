// SPDX-License-Identifier: Apache-2.0
// Decoding, and what follows from an instruction's kind: operands, flags, whether it may fault.
#include "engine/absolute_operand.hpp"
#include "engine/translate/decode/flag_effects.hpp"
#include "engine/translate/decode/instruction.hpp"
#include "engine/translate/decode/kind.hpp"
#include "x86/registers.hpp"

#include <cstring>

namespace undercroft::translate {
namespace {

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

bool works_on_x87_state(const Instruction& i) {
    if (i.raw.meta.isa_ext == ZYDIS_ISA_EXT_X87 || i.raw.meta.isa_ext == ZYDIS_ISA_EXT_MMX) return true;
    for (unsigned n = 0; n < i.raw.operand_count; ++n) {
        const auto& operand = i.operand[n];
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        auto kind = ZydisRegisterGetClass(operand.reg.value);
        if (kind == ZYDIS_REGCLASS_X87 || kind == ZYDIS_REGCLASS_MMX) return true;
    }
    return false;
}

// #XM by MXCSR.
bool may_raise_simd_exception(const Instruction& i) {
    // Intel SDM vol. 2A section 2.4: types 2 and 3 raise SIMD exceptions, 11 is F16C.
    switch (i.raw.meta.exception_class) {
        case ZYDIS_EXCEPTION_CLASS_SSE2:
        case ZYDIS_EXCEPTION_CLASS_SSE3:
        case ZYDIS_EXCEPTION_CLASS_AVX2:
        case ZYDIS_EXCEPTION_CLASS_AVX3:
        case ZYDIS_EXCEPTION_CLASS_AVX11: return true;
        default: return false;
    }
}

}  // namespace

Decoder::Decoder() { ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }

bool Decoder::decode(std::span<const std::byte> bytes, std::uint64_t rip, const Assumptions& assumptions,
                     bool user, Instruction& out) const {
    if (!ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder_, bytes.data(), bytes.size(), &out.raw, out.operand.data()))) {
        return false;
    }
    correct_absolute_operand(out.raw, {out.operand.data(), out.raw.operand_count});
    std::memcpy(out.bytes.data(), bytes.data(), out.raw.length);
    out.rip = rip;
    out.memory_operand = -1;
    out.high_byte = false;
    out.follow = Follow::Nothing;
    out.exit_live = 0;
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
    out.on_x87_state = works_on_x87_state(out);
    out.may_fault = memory != nullptr || (out.kind != Kind::Copy && out.kind != Kind::Nop) ||
                    out.raw.mnemonic == ZYDIS_MNEMONIC_DIV || out.raw.mnemonic == ZYDIS_MNEMONIC_IDIV ||
                    out.on_x87_state || may_raise_simd_exception(out);
    out.flags.shown = out.kind == Kind::Step || out.kind == Kind::Syscall || out.kind == Kind::PushFlags;
    if (leaves_flags(out.kind)) out.flags = {.shown = out.flags.shown};
    if (out.kind == Kind::PopFlags || out.kind == Kind::Sysret || out.kind == Kind::InterruptReturn) {
        out.flags = {.read = 0, .written = static_cast<std::uint32_t>(RFLAGS::Arithmetic), .touches = true};
    }
    return true;
}

}  // namespace undercroft::translate
