// SPDX-License-Identifier: Apache-2.0
#include "engine/step/reencode.hpp"

#include "engine/step/register_names.hpp"
#include "x86/registers.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <span>

namespace undercroft {
namespace {

// The fields of the instruction, with registers as 4-bit numbers.
struct Fields {
    unsigned opcode = 0;
    unsigned mod = 0;
    unsigned reg = 0;
    unsigned rm = 0;
    unsigned vvvv = 0;
    bool has_modrm = false;
    bool w = false;
    bool needs_rex = false;
    std::span<const std::uint8_t> tail;  // immediates
};

bool names_stack_pointer(const ZydisDecodedOperand& operand) {
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    Operand ours = register_operand(operand.reg.value, 0);
    return ours.kind == OperandKind::Register && ours.number == static_cast<unsigned>(Gpr::Rsp);
}

bool rename_stack_pointer(Fields& fields, const ZydisDecodedInstruction& source,
                          const ZydisDecodedOperand* operands, HostRegister name) {
    for (unsigned i = 0; i < source.operand_count; i++) {
        if (!names_stack_pointer(operands[i])) continue;
        switch (operands[i].encoding) {
            case ZYDIS_OPERAND_ENCODING_MODRM_REG: fields.reg = name; break;
            case ZYDIS_OPERAND_ENCODING_MODRM_RM: fields.rm = name; break;
            case ZYDIS_OPERAND_ENCODING_NDSNDD: fields.vvvv = name; break;
            case ZYDIS_OPERAND_ENCODING_OPCODE:
                if (!fields.has_modrm) fields.opcode = (fields.opcode & 0xf8) | (name & 7);
                fields.rm = name;
                break;
            default: return false;
        }
    }
    return true;
}

std::span<const std::uint8_t> tail_of(const ZydisDecodedInstruction& source, const Instruction& instruction) {
    const auto& raw = source.raw;
    std::size_t start = source.length;
    if ((source.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0) {
        start = raw.modrm.offset + 1u;
        if ((source.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0) start = raw.sib.offset + 1u;
        if (raw.disp.size != 0) start = raw.disp.offset + raw.disp.size / 8u;
    } else {
        start -= (raw.imm[0].size + raw.imm[1].size) / 8u;
    }
    return std::span{instruction.bytes}.subspan(start, source.length - start);
}

// Opcodes of 16- and 32-bit code that mean something else in 64-bit code.
void set_forms_of_64bit_code(Fields& fields) {
    if (fields.opcode == 0x82) fields.opcode = 0x80;
    if (fields.opcode < 0x40 || fields.opcode > 0x4f) return;
    fields.has_modrm = true;  // INC and DEC with the register in the opcode: the bytes of REX prefixes
    fields.mod = 3;
    fields.reg = fields.opcode >> 3 & 1;
    fields.rm = fields.opcode & 7;
    fields.opcode = 0xff;
}

Fields fields_of(const ZydisDecodedInstruction& source, const Instruction& instruction) {
    Fields fields;
    fields.opcode = source.opcode;
    fields.has_modrm = (source.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    fields.mod = source.raw.modrm.mod;
    fields.reg = source.raw.modrm.reg;
    fields.rm = source.raw.modrm.rm;
    fields.tail = tail_of(source, instruction);
    bool legacy = source.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    if (legacy && (source.attributes & ZYDIS_ATTRIB_HAS_REX) != 0) {
        fields.needs_rex = true;
        fields.w = source.raw.rex.W != 0;
        fields.reg |= source.raw.rex.R != 0 ? 8u : 0u;
        fields.rm |= source.raw.rex.B != 0 ? 8u : 0u;
        if (!fields.has_modrm) fields.rm = (fields.opcode & 7) | (source.raw.rex.B != 0 ? 8u : 0u);
    }
    if (legacy && source.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT) set_forms_of_64bit_code(fields);
    return fields;
}

void emit_legacy_prefixes(CodeBuffer& out, const ZydisDecodedInstruction& source,
                          const Instruction& instruction) {
    bool operand_size = false;
    bool mandatory_operand_size = false;
    for (unsigned i = 0; i < source.raw.prefix_count; i++) {
        const auto& prefix = source.raw.prefixes[i];
        bool mandatory = prefix.type == ZYDIS_PREFIX_TYPE_MANDATORY;
        if (prefix.value == 0x66) {
            operand_size = true;
            mandatory_operand_size |= mandatory;
        }
        if (prefix.value == 0xf0) out.byte(0xf0);
        if ((prefix.value == 0xf2 || prefix.value == 0xf3) && mandatory) out.byte(prefix.value);
    }
    // The prefix means the other size in 16-bit code.
    if (instruction.code_size == CodeSize::Code16 && !mandatory_operand_size)
        operand_size = instruction.operand_size == 2;
    if (operand_size) out.byte(0x66);
}

void emit_opcode_map(CodeBuffer& out, ZydisOpcodeMap map) {
    if (map == ZYDIS_OPCODE_MAP_DEFAULT) return;
    out.byte(0x0f);
    if (map == ZYDIS_OPCODE_MAP_0F38) out.byte(0x38);
    if (map == ZYDIS_OPCODE_MAP_0F3A) out.byte(0x3a);
}

void emit_legacy(CodeBuffer& out, const ZydisDecodedInstruction& source, const Instruction& instruction,
                 const Fields& fields) {
    emit_legacy_prefixes(out, source, instruction);
    unsigned rex = (fields.w ? 8u : 0u) | (fields.reg >> 3) << 2 | fields.rm >> 3;
    if (rex != 0 || fields.needs_rex) out.byte(0x40 | rex);
    emit_opcode_map(out, source.opcode_map);
    out.byte(fields.opcode);
    if (fields.has_modrm) out.byte(fields.mod << 6 | (fields.reg & 7) << 3 | (fields.rm & 7));
    out.bytes(fields.tail);
}

// The three-byte form, whatever the guest used.
void emit_vex(CodeBuffer& out, const ZydisDecodedInstruction& source, const Instruction& instruction,
              const Fields& fields) {
    std::uint8_t tail = instruction.bytes[source.raw.vex.offset + source.raw.vex.size - 1u];
    if (source.raw.vex.size == 2) tail &= 0x7f;  // there bit 7 is R
    unsigned map = source.raw.vex.size == 2 ? 1u : instruction.bytes[source.raw.vex.offset + 1u] & 0x1fu;
    out.byte(0xc4);
    out.byte((fields.reg < 8 ? 0x80u : 0u) | 0x40u | (fields.rm < 8 ? 0x20u : 0u) | map);
    out.byte((tail & 0x87u) | (~fields.vvvv & 15u) << 3);
    out.byte(fields.opcode);
    if (fields.has_modrm) out.byte(fields.mod << 6 | (fields.reg & 7) << 3 | (fields.rm & 7));
    out.bytes(fields.tail);
}

void set_vex_fields(Fields& fields, const ZydisDecodedInstruction& source, const Instruction& instruction) {
    const std::uint8_t* prefix = &instruction.bytes[source.raw.vex.offset];
    bool long_mode = instruction.code_size == CodeSize::Code64;
    std::uint8_t tail = prefix[source.raw.vex.size - 1u];
    fields.vvvv = ~(tail >> 3u) & (long_mode ? 15u : 7u);
    if (!long_mode) return;
    if ((prefix[1] & 0x80) == 0) fields.reg |= 8;
    if (source.raw.vex.size == 3 && (prefix[1] & 0x20) == 0) fields.rm |= 8;
}

}  // namespace

bool reencode(CodeBuffer& out, const ZydisDecodedInstruction& source, const ZydisDecodedOperand* operands,
              const Instruction& instruction, const Assignment& assignment) {
    Fields fields = fields_of(source, instruction);
    bool vex = source.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    if (!vex && source.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return false;
    if (vex) set_vex_fields(fields, source, instruction);
    if (fields.has_modrm && fields.mod != 3) {
        fields.mod = 0;
        fields.rm = assignment.memory;
    }
    if (assignment.stack_pointer != Assignment::none &&
        !rename_stack_pointer(fields, source, operands, assignment.stack_pointer)) {
        return false;
    }
    if (vex) {
        emit_vex(out, source, instruction, fields);
    } else {
        emit_legacy(out, source, instruction, fields);
    }
    return true;
}

}  // namespace undercroft
