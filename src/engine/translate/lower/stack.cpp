// SPDX-License-Identifier: Apache-2.0
// PUSH, POP, LEAVE. The guest's rsp is the host's rsp as a value: nothing here touches the host's stack.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {
namespace {
constexpr Mem operand_field = engine_field(offsetof(EngineFrame, operand));
constexpr Mem checked{.base = scratch0, .index = scratch1};
constexpr std::uint32_t every_flag = static_cast<std::uint32_t>(RFLAGS::Arithmetic);
}  // namespace

void Lowering::store_imm_at(Mem to, std::uint64_t value, bool guest_address) {
    if (Assembler::fits_int32(value)) {
        if (guest_address) immovable();
        as_.store_imm(to, static_cast<std::int32_t>(value));
        return;
    }
    take_scratch1();
    as_.lea(scratch0, to);
    if (guest_address)
        mov_guest_address(scratch1, value);
    else
        as_.mov_imm(scratch1, value);
    as_.store(Mem{.base = scratch0}, scratch1);
}

void Lowering::store_register_at(Mem to, int reg) {
    if (reg != scratch0 && reg != scratch1) {
        as_.store(to, reg);
    } else if (to.base != scratch0) {
        as_.load(scratch0, home(reg));
        as_.store(to, scratch0);
    } else {
        as_.lea(scratch0, to);
        as_.load(scratch1, home(reg));
        as_.store(Mem{.base = scratch0}, scratch1);
    }
}

void Lowering::load_register_from(int reg, Mem from) {
    if (reg == scratch0 || reg == scratch1) {
        as_.load(scratch0, from);
        as_.store(home(reg), scratch0);
    } else {
        as_.load(reg, from);
    }
}

// What a push, pop, call or return does to rsp is left to the next instruction, which may do the same: no
// check comes in between.
bool Lowering::moves_stack_only(const Instruction& i) {
    if (i.group < 0 || i.leads_group) return false;
    switch (i.kind) {
        case Kind::Push:
        case Kind::Pop:
            return i.operand[0].type != ZYDIS_OPERAND_TYPE_REGISTER || gpr_number(i.operand[0].reg) != rsp;
        case Kind::CallDirect:
        case Kind::Return: return true;
        default: return false;
    }
}

void Lowering::settle_stack() {
    if (stack_behind_ != 0) as_.lea(rsp, Mem{.base = rsp, .disp = stack_behind_});
    stack_behind_ = 0;
}

// The 8-byte value of a register or memory operand, into EngineFrame::operand. Flags must be saved.
void Lowering::load_operand_to_frame(const Instruction& i, const Operand& operand) {
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
        effective_address(i, operand.mem);
        check(i, Access::Read, 8);
        as_.load(scratch0, checked);
    } else {
        int reg = gpr_number(operand.reg);
        if (reg == scratch0 || reg == scratch1)
            as_.load(scratch0, home(reg));
        else
            as_.mov(scratch0, reg);
    }
    as_.store(operand_field, scratch0);
}

void Lowering::push(const Instruction& i) {
    const auto& operand = i.operand[0];
    bool from_memory = operand.type == ZYDIS_OPERAND_TYPE_MEMORY;
    if (from_memory) {
        save_flags(live_before(i));
        load_operand_to_frame(i, operand);
    }
    Mem to = reach(i, Access::Write, 8, rsp, stack_behind_ - 8);
    if (from_memory) {
        as_.lea(scratch0, to);
        as_.load(scratch1, operand_field);
        as_.store(Mem{.base = scratch0}, scratch1);
    } else if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        store_imm_at(to, static_cast<std::uint64_t>(operand.imm));
    } else {
        store_register_at(to, gpr_number(operand.reg));
    }
    stack_behind_ -= 8;
}

void Lowering::pop(const Instruction& i) {
    int reg = gpr_number(i.operand[0].reg);
    load_register_from(reg, reach(i, Access::Read, 8, rsp, stack_behind_));
    if (reg != rsp) stack_behind_ += 8;
}

void Lowering::leave(const Instruction& i) {
    constexpr int rbp = 5;
    Mem from = reach(i, Access::Read, 8, rbp, 0);
    as_.lea(rsp, Mem{.base = rbp, .disp = 8});
    as_.load(rbp, from);
}

void Lowering::push_return_address(const Instruction& i) {
    store_imm_at(reach(i, Access::Write, 8, rsp, stack_behind_ - 8), i.next_rip(), true);
    stack_behind_ -= 8;
    settle_stack();
}

std::int32_t Lowering::popped_by(const Instruction& i) {
    std::int32_t popped = 8;
    if (i.operand_count_visible > 0) popped += static_cast<std::int32_t>(i.operand[0].imm & 0xffff);
    return popped;
}

void Lowering::return_near(const Instruction& i) {
    save_flags(every_flag);
    as_.load(scratch0, reach(i, Access::Read, 8, rsp, stack_behind_));
    stack_behind_ += popped_by(i);
    settle_stack();
    if (i.follow == Follow::Nothing)
        go_indirect(i, popped_by(i));
    else
        follow_return(i);
}

}  // namespace undercroft::translate
