// SPDX-License-Identifier: Apache-2.0
// Decoding, and what follows from an instruction's kind: operands, flags, whether it may fault.
#include "engine/translate/decode/decoder.hpp"

#include "engine/absolute_operand.hpp"
#include "engine/translate/decode/flag_effects.hpp"
#include "engine/translate/decode/kind.hpp"
#include "x86/registers.hpp"

#include <algorithm>
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
    if (i.isa_ext == ZYDIS_ISA_EXT_X87 || i.isa_ext == ZYDIS_ISA_EXT_MMX) return true;
    for (unsigned n = 0; n < i.operand_count; ++n) {
        const auto& operand = i.operand[n];
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        auto kind = ZydisRegisterGetClass(operand.reg);
        if (kind == ZYDIS_REGCLASS_X87 || kind == ZYDIS_REGCLASS_MMX) return true;
    }
    return false;
}

// #XM by MXCSR.
bool may_raise_simd_exception(const Instruction& i) {
    // Intel SDM vol. 2A section 2.4: types 2 and 3 raise SIMD exceptions, 11 is F16C.
    switch (i.exception_class) {
        case ZYDIS_EXCEPTION_CLASS_SSE2:
        case ZYDIS_EXCEPTION_CLASS_SSE3:
        case ZYDIS_EXCEPTION_CLASS_AVX2:
        case ZYDIS_EXCEPTION_CLASS_AVX3:
        case ZYDIS_EXCEPTION_CLASS_AVX11: return true;
        default: return false;
    }
}

Operand reduced(const ZydisDecodedOperand& from) {
    Operand to{};
    to.type = from.type;
    to.actions = from.actions;
    to.size = from.size;
    if (from.type == ZYDIS_OPERAND_TYPE_REGISTER) to.reg = from.reg.value;
    if (from.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) to.imm = from.imm.value.s;
    if (from.type == ZYDIS_OPERAND_TYPE_MEMORY) {
        to.mem = {.type = from.mem.type,
                  .scale = from.mem.scale,
                  .segment = from.mem.segment,
                  .base = from.mem.base,
                  .index = from.mem.index,
                  .disp = from.mem.disp.value};
    }
    return to;
}

Form reduced(const ZydisDecodedInstruction& from) {
    const auto& raw = from.raw;
    Form to{};
    to.mnemonic = from.mnemonic;
    to.category = from.meta.category;
    to.isa_ext = from.meta.isa_ext;
    to.exception_class = from.meta.exception_class;
    to.branch_type = from.meta.branch_type;
    to.encoding = from.encoding;
    to.opcode_map = from.opcode_map;
    to.opcode = from.opcode;
    to.length = from.length;
    to.operand_width = from.operand_width;
    to.address_width = from.address_width;
    to.operand_count = from.operand_count;
    to.operand_count_visible = from.operand_count_visible;
    to.prefix_count = raw.prefix_count;
    if ((from.attributes & ZYDIS_ATTRIB_HAS_REX) != 0) to.rex_offset = raw.rex.offset;
    if (from.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) to.vex_offset = raw.vex.offset;
    to.modrm_offset = raw.modrm.offset;
    unsigned sib = raw.sib.offset != 0 ? 1 : 0;
    to.operand_end = static_cast<std::uint8_t>(raw.modrm.offset + 1 + sib + raw.disp.size / 8);
    to.attributes = from.attributes;
    to.cpu_flags = from.cpu_flags;
    return to;
}

Values values_of(const ZydisDecodedInstruction& from, std::span<const ZydisDecodedOperand> operands) {
    const auto& disp = from.raw.disp;
    const auto& imm = from.raw.imm[0];
    Values values{.displacement_offset = disp.offset,
                  .displacement_size = static_cast<std::uint8_t>(disp.size / 8),
                  .immediate_offset = imm.offset,
                  .immediate_size = static_cast<std::uint8_t>(imm.size / 8),
                  .immediate_signed = imm.is_signed != 0};
    for (std::size_t n = 0; n < operands.size(); ++n) {
        const ZydisDecodedOperand& operand = operands[n];
        bool by_modrm = operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
                        operand.encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64;
        auto index = static_cast<std::int8_t>(n);
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && by_modrm && disp.size != 0)
            values.displacement_operand = index;
        if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && imm.size != 0) values.immediate_operand = index;
    }
    return values;
}

// From the form but its flags, and the operands.
void set_flags(Instruction& i) {
    i.flags = flag_effects(i);
    i.flags.shown = i.kind == Kind::Step || i.kind == Kind::Syscall || i.kind == Kind::PushFlags;
    if (leaves_flags(i.kind)) i.flags = {.shown = i.flags.shown};
    if (i.kind == Kind::PopFlags || i.kind == Kind::Sysret || i.kind == Kind::InterruptReturn) {
        i.flags = {.read = 0, .written = static_cast<std::uint32_t>(RFLAGS::Arithmetic), .touches = true};
    }
}

void set_registers(Instruction& i) {
    for (unsigned n = 0; n < i.operand_count; ++n) {
        const Operand& operand = i.operand[n];
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        int number = gpr_number(operand.reg);
        if (number < 0) continue;
        auto bit = static_cast<std::uint16_t>(1u << number);
        i.named |= bit;
        if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) i.written |= bit;
    }
}

}  // namespace

Decoder::Decoder() { ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }

bool Decoder::decode(std::span<const std::byte> bytes, std::uint64_t rip, const Assumptions& assumptions,
                     bool user, Instruction& out) {
    if (assumptions != assumptions_) {
        known_.forget();
        assumptions_ = assumptions;
    }
    if (known_.find(bytes, user, out)) {
        if (shifts(out.mnemonic)) set_flags(out);
    } else if (!decode_new(bytes, user, out)) {
        return false;
    }
    out.rip = rip;
    out.group = -1;
    out.leads_group = false;
    out.group_shift = 0;
    out.follow = Follow::Nothing;
    out.predicted = 0;
    out.exit_live = 0;
    out.live_after = 0;
    return true;
}

bool Decoder::decode_new(std::span<const std::byte> bytes, bool user, Instruction& out) {
    ZydisDecodedInstruction raw;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> raw_operands;
    if (!ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder_, bytes.data(), bytes.size(), &raw, raw_operands.data())))
        return false;
    std::span operands{raw_operands.data(), raw.operand_count};
    correct_absolute_operand(raw, operands);
    static_cast<Form&>(out) = reduced(raw);
    std::transform(operands.begin(), operands.end(), out.operand.begin(),
                   [](const ZydisDecodedOperand& operand) { return reduced(operand); });
    std::memcpy(out.bytes.data(), bytes.data(), out.length);
    set_registers(out);
    out.memory_operand = -1;
    for (unsigned n = 0; n < out.operand_count_visible; ++n) {
        const Operand& operand = out.operand[n];
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN)
            out.memory_operand = static_cast<std::int8_t>(n);
        if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_high_byte(operand.reg)) out.high_byte = true;
    }
    out.kind = kind_of(out, assumptions_, user);
    const auto* memory = out.memory();
    if (memory != nullptr && memory->mem.type != ZYDIS_MEMOP_TYPE_MEM) out.kind = Kind::Step;
    out.on_x87_state = works_on_x87_state(out);
    out.may_fault = memory != nullptr || (out.kind != Kind::Copy && out.kind != Kind::Nop) ||
                    out.mnemonic == ZYDIS_MNEMONIC_DIV || out.mnemonic == ZYDIS_MNEMONIC_IDIV ||
                    out.on_x87_state || may_raise_simd_exception(out);
    set_flags(out);
    known_.add(bytes, user, out, values_of(raw, operands));
    return true;
}

}  // namespace undercroft::translate
