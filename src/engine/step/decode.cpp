// SPDX-License-Identifier: Apache-2.0
#include "engine/step/decode.hpp"

#include "base/check.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/vcpu.hpp"
#include "engine/absolute_operand.hpp"
#include "engine/step/native_code.hpp"
#include "engine/step/quirks.hpp"
#include "engine/step/register_names.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>

namespace undercroft {
namespace {

constexpr std::uint16_t bytes_of(unsigned bits) { return static_cast<std::uint16_t>(bits / 8); }

void set_memory(Instruction& out, const ZydisDecodedOperand& operand) {
    MemoryForm& form = out.memory;
    form.displacement = operand.mem.disp.value;
    form.base = address_register(operand.mem.base);
    form.index = address_register(operand.mem.index);
    form.scale = operand.mem.scale;
    form.vector_index = operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB;
    form.address_size = out.address_size;
    form.segment = segment_name(operand.mem.segment);
    if (out.code_size == CodeSize::Code64 && form.segment < SegmentName::FS) {
        bool stack =
            form.base == static_cast<unsigned>(Gpr::Rsp) || form.base == static_cast<unsigned>(Gpr::Rbp);
        form.segment = stack ? SegmentName::SS : SegmentName::DS;
    }
    form.reads = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
    form.writes = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    form.size = bytes_of(operand.size);
}

Operand operand_of(const ZydisDecodedOperand& operand) {
    std::uint16_t size = bytes_of(operand.size);
    switch (operand.type) {
        case ZYDIS_OPERAND_TYPE_REGISTER: return register_operand(operand.reg.value, size);
        case ZYDIS_OPERAND_TYPE_MEMORY: return {OperandKind::Memory, 0, size};
        case ZYDIS_OPERAND_TYPE_POINTER: return {OperandKind::FarPointer, 0, size};
        case ZYDIS_OPERAND_TYPE_IMMEDIATE: return {OperandKind::Immediate, 0, size};
        default: return {};
    }
}

void set_immediate(Instruction& out, const ZydisDecodedOperand& operand, bool& have_one) {
    if (have_one) {
        out.immediate2 = static_cast<std::uint8_t>(operand.imm.value.u);
    } else {
        out.immediate = operand.imm.value.u;
        have_one = true;
    }
}

void set_operands(Instruction& out, const ZydisDecodedInstruction& source,
                  const ZydisDecodedOperand* operands) {
    bool have_immediate = false;
    for (unsigned i = 0; i < source.operand_count; i++) {
        const ZydisDecodedOperand& operand = operands[i];
        bool visible = operand.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN;
        if (visible && i < out.operand.size()) out.operand[i] = operand_of(operand);
        if (!visible) continue;
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) set_memory(out, operand);
        if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) set_immediate(out, operand, have_immediate);
        if (operand.type == ZYDIS_OPERAND_TYPE_POINTER) {
            out.selector = operand.ptr.segment;
            out.immediate = operand.ptr.offset;
        }
    }
}

// Segment overrides and repeat prefixes of string instructions, whose operands are hidden.
void set_prefixes(Instruction& out, const ZydisDecodedInstruction& source) {
    ZydisInstructionAttributes attributes = source.attributes;
    if ((attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0) out.repeat = Repeat::WhileEqual;
    if ((attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0) out.repeat = Repeat::WhileNotEqual;
    out.lock = (attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
    out.rex_w = (attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && source.raw.rex.W != 0;
    out.vex = source.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    out.vector_size = static_cast<std::uint8_t>(source.avx.vector_length / 8);
    constexpr std::pair<ZydisInstructionAttributes, SegmentName> overrides[] = {
        {ZYDIS_ATTRIB_HAS_SEGMENT_ES, SegmentName::ES}, {ZYDIS_ATTRIB_HAS_SEGMENT_CS, SegmentName::CS},
        {ZYDIS_ATTRIB_HAS_SEGMENT_SS, SegmentName::SS}, {ZYDIS_ATTRIB_HAS_SEGMENT_FS, SegmentName::FS},
        {ZYDIS_ATTRIB_HAS_SEGMENT_GS, SegmentName::GS},
    };
    for (auto [attribute, name] : overrides) {
        if ((attributes & attribute) != 0) out.segment = name;
    }
}

bool moves_by_bit_offset(const Instruction& instruction) {
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_BT:
        case ZYDIS_MNEMONIC_BTS:
        case ZYDIS_MNEMONIC_BTR:
        case ZYDIS_MNEMONIC_BTC: return instruction.operand[1].kind == OperandKind::Register;
        default: return false;
    }
}

}  // namespace

Decoder::Decoder(NativeCode& native) : native_{native} {
    bool good =
        ZYAN_SUCCESS(ZydisDecoderInit(&decoder_[0], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) &&
        ZYAN_SUCCESS(
            ZydisDecoderInit(&decoder_[1], ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32)) &&
        ZYAN_SUCCESS(ZydisDecoderInit(&decoder_[2], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16));
    CHECK(good);
}

void Decoder::configure(const Vcpu& vcpu) {
    shown_ = shown_isa_sets(vcpu);
    amd_ = vcpu.cpuid != nullptr && vcpu.cpuid->is_amd();
    for (ZydisDecoder& decoder : decoder_) {
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES, amd_ ? ZYAN_TRUE : ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_LZCNT, shown_[ZYDIS_ISA_SET_LZCNT]);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_TZCNT, shown_[ZYDIS_ISA_SET_BMI1]);
    }
}

ZydisDecoder& Decoder::decoder_for(CodeSize code_size) {
    switch (code_size) {
        case CodeSize::Code64: return decoder_[0];
        case CodeSize::Code32: return decoder_[1];
        case CodeSize::Code16: break;
    }
    return decoder_[2];
}

DecodeStatus Decoder::decode(std::span<const std::uint8_t> bytes, CodeSize code_size, Instruction& out) {
    ZydisDecodedInstruction source;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZyanStatus status =
        ZydisDecoderDecodeFull(&decoder_for(code_size), bytes.data(), bytes.size(), &source, operands);
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return is_undefined_so_far(bytes, amd_) ? DecodeStatus::Undefined : DecodeStatus::Incomplete;
    if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return DecodeStatus::TooLong;
    if (status == ZYDIS_STATUS_ILLEGAL_LOCK || status == ZYDIS_STATUS_BAD_REGISTER)
        return DecodeStatus::Undefined;
    // The monitor's own, whatever else of VMX and SVM is hidden.
    bool hypercall = source.mnemonic == ZYDIS_MNEMONIC_VMCALL || source.mnemonic == ZYDIS_MNEMONIC_VMMCALL;
    if (!ZYAN_SUCCESS(status) || !(shown_[source.meta.isa_set] || hypercall)) return DecodeStatus::Unknown;

    correct_absolute_operand(source, {operands, source.operand_count});
    out = Instruction{};
    std::copy_n(bytes.begin(), source.length, out.bytes.begin());
    out.length = source.length;
    out.code_size = code_size;
    out.mnemonic = static_cast<std::uint16_t>(source.mnemonic);
    out.opcode = source.opcode;
    out.operand_size = static_cast<std::uint8_t>(source.operand_width / 8);
    out.address_size = static_cast<std::uint8_t>(source.address_width / 8);
    set_prefixes(out, source);
    set_operands(out, source, operands);
    out.memory.bit_string = moves_by_bit_offset(out);

    if (!apply_quirks(source, amd_, out)) return DecodeStatus::Undefined;

    const TableEntry entry = handler_for(source, out);
    if (entry.handler == nullptr) return entry.undefined ? DecodeStatus::Undefined : DecodeStatus::Unknown;
    out.execute = entry.handler;
    if (entry.needs_stub && !native_.prepare(source, operands, out)) return DecodeStatus::Unknown;
    return DecodeStatus::Ok;
}

}  // namespace undercroft
