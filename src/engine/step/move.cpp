// SPDX-License-Identifier: Apache-2.0
// Moves between general registers, memory, immediates and segment registers; LEA, XLAT.
// Source: Intel SDM vol. 2.
#include "cpu/instructions.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

Outcome move_sign_extended(Context& context) {
    const auto& operand = context.instruction.operand;
    std::uint64_t value = 0;
    if (!read_operand(context, operand[1], value)) return Outcome::Fault;
    write_general(context.vcpu, operand[0], sign_extend(value, operand[1].size));
    return Outcome::Next;
}

Outcome load_effective_address(Context& context) {
    write_general(context.vcpu, context.instruction.operand[0], effective_address(context));
    return Outcome::Next;
}

Outcome translate_byte(Context& context) {
    Vcpu& vcpu = context.vcpu;
    const Instruction& instruction = context.instruction;
    std::uint64_t index = vcpu.reg(Gpr::Rax) & 0xff;
    std::uint64_t offset = (vcpu.reg(Gpr::Rbx) + index) & mask_of_size(instruction.address_size);
    std::uint64_t value = 0;
    if (!read_segment(context, instruction.segment, offset, 1, value)) return Outcome::Fault;
    write_register(vcpu.reg(Gpr::Rax), value, 1);
    return Outcome::Next;
}

// LDS, LES, LFS, LGS, LSS: the offset, then the selector behind it.
Outcome load_far_pointer(Context& context) {
    const Instruction& instruction = context.instruction;
    SegmentName name = SegmentName::DS;
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_LES: name = SegmentName::ES; break;
        case ZYDIS_MNEMONIC_LFS: name = SegmentName::FS; break;
        case ZYDIS_MNEMONIC_LGS: name = SegmentName::GS; break;
        case ZYDIS_MNEMONIC_LSS: name = SegmentName::SS; break;
        default: break;
    }
    unsigned size = instruction.operand[0].size;
    std::uint64_t offset = 0;
    std::uint64_t selector = 0;
    if (!read_memory(context, size, offset) || !read_memory(context, 2, selector, size))
        return Outcome::Fault;
    if (!load_segment(context.vcpu, name, static_cast<std::uint16_t>(selector), context.trap))
        return Outcome::Fault;
    write_general(context.vcpu, instruction.operand[0], offset);
    return Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_MOVZX, move_general},         {ZYDIS_MNEMONIC_MOVNTI, move_general},
    {ZYDIS_MNEMONIC_MOVSX, move_sign_extended},   {ZYDIS_MNEMONIC_MOVSXD, move_sign_extended},
    {ZYDIS_MNEMONIC_LEA, load_effective_address}, {ZYDIS_MNEMONIC_XLAT, translate_byte},
    {ZYDIS_MNEMONIC_LDS, load_far_pointer},       {ZYDIS_MNEMONIC_LES, load_far_pointer},
    {ZYDIS_MNEMONIC_LFS, load_far_pointer},       {ZYDIS_MNEMONIC_LGS, load_far_pointer},
    {ZYDIS_MNEMONIC_LSS, load_far_pointer},
};

}  // namespace

TableEntries move_entries() { return entries; }

Outcome move_general(Context& context) {
    const auto& operand = context.instruction.operand;
    std::uint64_t value = 0;
    if (!read_operand(context, operand[1], value)) return Outcome::Fault;
    return write_operand(context, operand[0], value) ? Outcome::Next : Outcome::Fault;
}

Outcome move_to_segment(Context& context) {
    const auto& operand = context.instruction.operand;
    Operand source = operand[1];
    source.size = 2;
    std::uint64_t selector = 0;
    if (!read_operand(context, source, selector)) return Outcome::Fault;
    bool loaded = load_segment(context.vcpu, static_cast<SegmentName>(operand[0].number),
                               static_cast<std::uint16_t>(selector), context.trap);
    return loaded ? Outcome::Next : Outcome::Fault;
}

Outcome move_from_segment(Context& context) {
    const auto& operand = context.instruction.operand;
    std::uint64_t selector = context.vcpu.segment[operand[1].number].selector;
    Operand target = operand[0];
    if (target.kind == OperandKind::Memory) target.size = 2;
    return write_operand(context, target, selector) ? Outcome::Next : Outcome::Fault;
}

}  // namespace undercroft
