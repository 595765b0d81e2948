// SPDX-License-Identifier: Apache-2.0
// Far branches, system calls, interrupts and their returns: operands here, meaning in cpu/instructions.hpp.
#include "engine/step/far_branch.hpp"

#include "cpu/instructions.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

OperandSize operand_size(const Context& context) {
    return static_cast<OperandSize>(context.instruction.operand_size);
}

Outcome jumped(bool done) { return done ? Outcome::Jumped : Outcome::Fault; }

bool far_pointer(Context& context, std::uint16_t& selector, std::uint64_t& offset) {
    const Instruction& instruction = context.instruction;
    if (instruction.operand[0].kind == OperandKind::FarPointer) {
        selector = instruction.selector;
        offset = instruction.immediate & mask_of_size(instruction.operand_size);
        return true;
    }
    unsigned size = instruction.operand[0].size - 2u;
    std::uint64_t second = 0;
    if (!read_memory(context, size, offset) || !read_memory(context, 2, second, size)) return false;
    selector = static_cast<std::uint16_t>(second);
    return true;
}

Outcome do_iret(Context& context) { return jumped(iret(context.vcpu, operand_size(context), context.trap)); }
Outcome do_syscall(Context& context) {
    return jumped(syscall(context.vcpu, context.next_rip(), context.trap));
}
Outcome do_sysret(Context& context) {
    OperandSize size = context.instruction.rex_w ? OperandSize::Qword : OperandSize::Dword;
    return jumped(sysret(context.vcpu, size, context.trap));
}
Outcome do_sysenter(Context& context) { return jumped(sysenter(context.vcpu, context.trap)); }
Outcome do_sysexit(Context& context) {
    OperandSize size = context.instruction.rex_w ? OperandSize::Qword : OperandSize::Dword;
    return jumped(sysexit(context.vcpu, size, context.trap));
}

Outcome interrupt(Context& context, Vector vector) {
    context.trap = software_interrupt(context.vcpu, vector, context.next_rip());
    return Outcome::Fault;
}
Outcome interrupt_n(Context& context) {
    return interrupt(context, static_cast<Vector>(context.instruction.immediate & 0xff));
}
Outcome breakpoint(Context& context) { return interrupt(context, Vector::BP); }
// INT1 is no INT n: the gate's DPL does not count, and DR6 stays.
Outcome debug_trap(Context& context) {
    context.vcpu.rip = context.next_rip();
    context.trap = {.vector = Vector::DB, .kind = TrapKind::Trap};
    return Outcome::Fault;
}
Outcome interrupt_on_overflow(Context& context) {
    bool overflow = (context.vcpu.arithmetic_flags() & RFLAGS::OF) != 0;
    return overflow ? interrupt(context, Vector::OF) : Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_IRET, do_iret},
    {ZYDIS_MNEMONIC_IRETD, do_iret},
    {ZYDIS_MNEMONIC_IRETQ, do_iret},
    {ZYDIS_MNEMONIC_SYSCALL, do_syscall},
    {ZYDIS_MNEMONIC_SYSRET, do_sysret},
    {ZYDIS_MNEMONIC_SYSENTER, do_sysenter},
    {ZYDIS_MNEMONIC_SYSEXIT, do_sysexit},
    {ZYDIS_MNEMONIC_INT, interrupt_n},
    {ZYDIS_MNEMONIC_INT3, breakpoint},
    {ZYDIS_MNEMONIC_INT1, debug_trap},
    {ZYDIS_MNEMONIC_INTO, interrupt_on_overflow},
};

}  // namespace

TableEntries far_branch_entries() { return entries; }

Outcome jump_far(Context& context) {
    std::uint16_t selector = 0;
    std::uint64_t offset = 0;
    if (!far_pointer(context, selector, offset)) return Outcome::Fault;
    return jumped(far_jump(context.vcpu, selector, offset, context.trap));
}

Outcome call_far(Context& context) {
    std::uint16_t selector = 0;
    std::uint64_t offset = 0;
    if (!far_pointer(context, selector, offset)) return Outcome::Fault;
    return jumped(
        far_call(context.vcpu, selector, offset, operand_size(context), context.next_rip(), context.trap));
}

Outcome return_far(Context& context) {
    auto bytes = static_cast<std::uint16_t>(context.instruction.immediate);
    return jumped(far_return(context.vcpu, operand_size(context), bytes, context.trap));
}

}  // namespace undercroft
