// SPDX-License-Identifier: Apache-2.0
// Near branches: JMP, Jcc, CALL, RET, LOOP, JrCXZ.
// Source: Intel SDM vol. 2. A non-canonical target is #GP at the branch, as Intel has it.
#include "engine/step/condition.hpp"
#include "engine/step/far_branch.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/stack.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

// The target as the operand size truncates it; checked against the canonical form or the code segment's
// limit.
bool check_target(Context& context, std::uint64_t& target) {
    target &= mask_of_size(context.instruction.operand_size);
    bool good = context.is_64bit() ? is_canonical(target) : target <= context.vcpu.seg(SegmentName::CS).limit;
    if (!good) context.trap = Trap::fault(Vector::GP, 0);
    return good;
}

std::uint64_t relative_target(const Context& context) {
    return context.next_rip() + context.instruction.immediate;
}

Outcome jump_to(Context& context, std::uint64_t target) {
    if (!check_target(context, target)) return Outcome::Fault;
    context.vcpu.rip = target;
    return Outcome::Jumped;
}

// The target of JMP and CALL; false: reading it faulted.
bool branch_target(Context& context, std::uint64_t& target) {
    const Operand& operand = context.instruction.operand[0];
    if (operand.kind != OperandKind::Immediate) return read_operand(context, operand, target);
    target = relative_target(context);
    return true;
}

bool is_far(const Instruction& instruction) {
    const Operand& operand = instruction.operand[0];
    if (operand.kind == OperandKind::FarPointer) return true;
    // FF /3 and /5 read a selector behind the offset.
    return operand.kind == OperandKind::Memory && operand.size > instruction.operand_size;
}

Outcome jump(Context& context) {
    if (is_far(context.instruction)) return jump_far(context);
    std::uint64_t target = 0;
    if (!branch_target(context, target)) return Outcome::Fault;
    return jump_to(context, target);
}

Outcome call(Context& context) {
    if (is_far(context.instruction)) return call_far(context);
    std::uint64_t target = 0;
    if (!branch_target(context, target)) return Outcome::Fault;
    // AMD's processors look at the stack before they look at the target.
    unsigned size = context.instruction.operand_size;
    std::uint64_t down = ~std::uint64_t{size} + 1;
    if (is_amd(context.vcpu) &&
        !check_segment(context, SegmentName::SS, stack_offset(context.vcpu, down), size, Access::Write)) {
        return Outcome::Fault;
    }
    if (!check_target(context, target)) return Outcome::Fault;
    if (!push(context, context.next_rip(), context.instruction.operand_size)) return Outcome::Fault;
    context.vcpu.rip = target;
    return Outcome::Jumped;
}

Outcome return_to_caller(Context& context) {
    if (context.instruction.opcode == 0xca || context.instruction.opcode == 0xcb) return return_far(context);
    unsigned size = context.instruction.operand_size;
    std::uint64_t target = 0;
    if (!peek(context, size, target) || !check_target(context, target)) return Outcome::Fault;
    move_stack_pointer(context.vcpu, size + (context.instruction.immediate & 0xffff));
    context.vcpu.rip = target;
    return Outcome::Jumped;
}

Outcome jump_if(Context& context) {
    if (!condition_holds(context.vcpu, context.instruction.opcode & 15)) return Outcome::Next;
    return jump_to(context, relative_target(context));
}

std::uint64_t counter(const Context& context) {
    return context.vcpu.reg(Gpr::Rcx) & mask_of_size(context.instruction.address_size);
}

Outcome loop(Context& context) {
    Vcpu& vcpu = context.vcpu;
    std::uint64_t left = (counter(context) - 1) & mask_of_size(context.instruction.address_size);
    bool zero = (vcpu.arithmetic_flags() & RFLAGS::ZF) != 0;
    bool taken = left != 0;
    if (context.instruction.mnemonic == ZYDIS_MNEMONIC_LOOPE) taken &= zero;
    if (context.instruction.mnemonic == ZYDIS_MNEMONIC_LOOPNE) taken &= !zero;
    std::uint64_t target = relative_target(context);
    if (taken && !check_target(context, target)) return Outcome::Fault;
    write_register(vcpu.reg(Gpr::Rcx), left, context.instruction.address_size);
    if (!taken) return Outcome::Next;
    vcpu.rip = target;
    return Outcome::Jumped;
}

Outcome jump_if_counter_zero(Context& context) {
    return counter(context) == 0 ? jump_to(context, relative_target(context)) : Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_JMP, jump},
    {ZYDIS_MNEMONIC_CALL, call},
    {ZYDIS_MNEMONIC_RET, return_to_caller},
    {ZYDIS_MNEMONIC_JO, jump_if},
    {ZYDIS_MNEMONIC_JNO, jump_if},
    {ZYDIS_MNEMONIC_JB, jump_if},
    {ZYDIS_MNEMONIC_JNB, jump_if},
    {ZYDIS_MNEMONIC_JZ, jump_if},
    {ZYDIS_MNEMONIC_JNZ, jump_if},
    {ZYDIS_MNEMONIC_JBE, jump_if},
    {ZYDIS_MNEMONIC_JNBE, jump_if},
    {ZYDIS_MNEMONIC_JS, jump_if},
    {ZYDIS_MNEMONIC_JNS, jump_if},
    {ZYDIS_MNEMONIC_JP, jump_if},
    {ZYDIS_MNEMONIC_JNP, jump_if},
    {ZYDIS_MNEMONIC_JL, jump_if},
    {ZYDIS_MNEMONIC_JNL, jump_if},
    {ZYDIS_MNEMONIC_JLE, jump_if},
    {ZYDIS_MNEMONIC_JNLE, jump_if},
    {ZYDIS_MNEMONIC_LOOP, loop},
    {ZYDIS_MNEMONIC_LOOPE, loop},
    {ZYDIS_MNEMONIC_LOOPNE, loop},
    {ZYDIS_MNEMONIC_JCXZ, jump_if_counter_zero},
    {ZYDIS_MNEMONIC_JECXZ, jump_if_counter_zero},
    {ZYDIS_MNEMONIC_JRCXZ, jump_if_counter_zero},
};

}  // namespace

TableEntries branch_entries() { return entries; }

}  // namespace undercroft
