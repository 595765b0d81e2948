// SPDX-License-Identifier: Apache-2.0
// PUSH, POP and kin, ENTER, LEAVE.
// Source: Intel SDM vol. 2.
#include "engine/step/stack.hpp"

#include "cpu/instructions.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

Outcome push_operand(Context& context) {
    const Instruction& instruction = context.instruction;
    const Operand& source = instruction.operand[0];
    std::uint64_t value = 0;
    if (source.kind == OperandKind::Segment) {
        value = context.vcpu.segment[source.number].selector;
    } else if (!read_operand(context, source, value)) {
        return Outcome::Fault;
    }
    return push(context, value, instruction.operand_size) ? Outcome::Next : Outcome::Fault;
}

Outcome pop_segment(Context& context) {
    Vcpu& vcpu = context.vcpu;
    unsigned size = context.instruction.operand_size;
    std::uint64_t selector = 0;
    if (!peek(context, size, selector)) return Outcome::Fault;
    auto name = static_cast<SegmentName>(context.instruction.operand[0].number);
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    move_stack_pointer(vcpu, size);  // by the width that SS had before
    if (load_segment(vcpu, name, static_cast<std::uint16_t>(selector), context.trap)) return Outcome::Next;
    vcpu.reg(Gpr::Rsp) = rsp;
    return Outcome::Fault;
}

// The address of a memory operand is computed after rSP has moved.
Outcome pop_memory(Context& context, std::uint64_t value, unsigned size) {
    Vcpu& vcpu = context.vcpu;
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    move_stack_pointer(vcpu, size);
    if (write_memory(context, size, value)) return Outcome::Next;
    vcpu.reg(Gpr::Rsp) = rsp;
    return Outcome::Fault;
}

Outcome pop_operand(Context& context) {
    const Operand& target = context.instruction.operand[0];
    if (target.kind == OperandKind::Segment) return pop_segment(context);
    unsigned size = context.instruction.operand_size;
    std::uint64_t value = 0;
    if (!peek(context, size, value)) return Outcome::Fault;
    if (target.kind == OperandKind::Memory) return pop_memory(context, value, size);
    move_stack_pointer(context.vcpu, size);
    write_general(context.vcpu, target, value);
    return Outcome::Next;
}

Outcome push_all(Context& context) {
    Vcpu& vcpu = context.vcpu;
    unsigned size = context.instruction.operand_size;
    std::uint64_t down = ~std::uint64_t{8u * size} + 1;
    if (!check_segment(context, SegmentName::SS, stack_offset(vcpu, down), 8 * size, Access::Write))
        return Outcome::Fault;
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    for (unsigned i = 0; i < 8; i++) {
        std::uint64_t value = i == 4 ? rsp : vcpu.gpr[i];
        if (!push(context, value, size)) {
            vcpu.reg(Gpr::Rsp) = rsp;
            return Outcome::Fault;
        }
    }
    return Outcome::Next;
}

Outcome pop_all(Context& context) {
    Vcpu& vcpu = context.vcpu;
    unsigned size = context.instruction.operand_size;
    std::uint64_t value[8];
    for (unsigned i = 0; i < 8; i++) {
        if (!peek(context, size, value[i], std::uint64_t{7 - i} * size)) return Outcome::Fault;
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i != 4) write_register(vcpu.gpr[i], value[i], size);
    }
    move_stack_pointer(vcpu, 8u * size);
    return Outcome::Next;
}

Outcome push_flags(Context& context) {
    unsigned size = context.instruction.operand_size;
    std::uint64_t value = 0;
    if (!pushf_value(context.vcpu, static_cast<OperandSize>(size), value, context.trap))
        return Outcome::Fault;
    return push(context, value, size) ? Outcome::Next : Outcome::Fault;
}

Outcome pop_flags(Context& context) {
    unsigned size = context.instruction.operand_size;
    std::uint64_t value = 0;
    if (!peek(context, size, value)) return Outcome::Fault;
    if (!popf(context.vcpu, value, static_cast<OperandSize>(size), context.trap)) return Outcome::Fault;
    move_stack_pointer(context.vcpu, size);
    return Outcome::Next;
}

Outcome leave(Context& context) {
    Vcpu& vcpu = context.vcpu;
    unsigned size = context.instruction.operand_size;
    std::uint64_t stack_mask = mask_of_size(stack_width(vcpu));
    std::uint64_t top = vcpu.reg(Gpr::Rbp) & stack_mask;
    std::uint64_t value = 0;
    if (!read_segment(context, SegmentName::SS, top, size, value)) return Outcome::Fault;
    std::uint64_t& rsp = vcpu.reg(Gpr::Rsp);
    rsp = (rsp & ~stack_mask) | ((top + size) & stack_mask);
    write_register(vcpu.reg(Gpr::Rbp), value, size);
    return Outcome::Next;
}

// Pushes rBP, copies the enclosing frames' pointers, pushes the new frame's, makes room. rBP and rSP move at
// the end.
Outcome enter(Context& context) {
    Vcpu& vcpu = context.vcpu;
    unsigned size = context.instruction.operand_size;
    unsigned level = context.instruction.immediate2 & 31u;
    std::uint64_t stack_mask = mask_of_size(stack_width(vcpu));
    std::uint64_t old_rsp = vcpu.reg(Gpr::Rsp);
    auto fail = [&] {
        vcpu.reg(Gpr::Rsp) = old_rsp;
        return Outcome::Fault;
    };
    if (!push(context, vcpu.reg(Gpr::Rbp), size)) return fail();
    std::uint64_t frame = vcpu.reg(Gpr::Rsp);
    for (unsigned i = 1; i < level; i++) {
        std::uint64_t value = 0;
        std::uint64_t from = (vcpu.reg(Gpr::Rbp) - std::uint64_t{i} * size) & stack_mask;
        if (!read_segment(context, SegmentName::SS, from, size, value) || !push(context, value, size))
            return fail();
    }
    if (level > 0 && !push(context, frame, size)) return fail();
    std::uint64_t room = context.instruction.immediate & 0xffff;
    move_stack_pointer(vcpu, ~room + 1);
    // The new top must be writable.
    if (!check_segment(context, SegmentName::SS, stack_offset(vcpu, 0), size, Access::Write)) return fail();
    write_register(vcpu.reg(Gpr::Rbp), frame, size);
    return Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_PUSH, push_operand}, {ZYDIS_MNEMONIC_POP, pop_operand},
    {ZYDIS_MNEMONIC_PUSHA, push_all},    {ZYDIS_MNEMONIC_PUSHAD, push_all},
    {ZYDIS_MNEMONIC_POPA, pop_all},      {ZYDIS_MNEMONIC_POPAD, pop_all},
    {ZYDIS_MNEMONIC_PUSHF, push_flags},  {ZYDIS_MNEMONIC_PUSHFD, push_flags},
    {ZYDIS_MNEMONIC_PUSHFQ, push_flags}, {ZYDIS_MNEMONIC_POPF, pop_flags},
    {ZYDIS_MNEMONIC_POPFD, pop_flags},   {ZYDIS_MNEMONIC_POPFQ, pop_flags},
    {ZYDIS_MNEMONIC_LEAVE, leave},       {ZYDIS_MNEMONIC_ENTER, enter},
};

}  // namespace

TableEntries stack_entries() { return entries; }

}  // namespace undercroft
