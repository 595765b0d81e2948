// SPDX-License-Identifier: Apache-2.0
// Instructions whose meaning is a callback's, and the XSAVE family, which runs as it is.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {
namespace {

constexpr int rdx = 2;
constexpr Mem spilled_rax = engine_field(offsetof(EngineFrame, spill_rax));
constexpr Mem spilled_rdx = engine_field(offsetof(EngineFrame, spill));

// IN, OUT: bit 0 of the opcode says bytes, or the operand size, of which no port has more than 32 bits.
unsigned port_size(const Instruction& i) {
    if ((i.opcode & 1) == 0) return 1;
    return i.operand_width == 16 ? 2 : 4;
}

}  // namespace

void Lowering::helper(const Instruction& i) {
    save_flags(live_before(i));
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_PAUSE: hand_over(new_site(i, pause_instruction, 0, Access::Read, 0)); break;
        case ZYDIS_MNEMONIC_CPUID: hand_over(new_site(i, identify, 0, Access::Read, 0)); break;
        case ZYDIS_MNEMONIC_RDMSR:
            hand_over(new_site(i, read_model_specific, 0, Access::Read, 0), thunks_.call_outside);
            break;
        case ZYDIS_MNEMONIC_WRMSR:
            hand_over(new_site(i, write_model_specific, 0, Access::Read, 0), thunks_.call_outside);
            break;
        case ZYDIS_MNEMONIC_IN:
        case ZYDIS_MNEMONIC_OUT: {
            bool in = i.mnemonic == ZYDIS_MNEMONIC_IN;
            const auto& port = i.operand[in ? 1 : 0];
            if (port.type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
                as_.mov_imm(scratch0, port.imm & 0xff);
            else
                as_.op_rr(0, false, 0x0fb7, scratch0, rdx);  // movzx r10d, dx
            hand_over(new_site(i, in ? read_port : write_port, port_size(i), Access::Read, 0),
                      thunks_.call_outside);
            break;
        }
        case ZYDIS_MNEMONIC_VMCALL:
        case ZYDIS_MNEMONIC_VMMCALL: hand_over(new_site(i, call_monitor, 0, Access::Read, 0)); break;
        case ZYDIS_MNEMONIC_INVLPG:
            effective_address(i, i.operand[0].mem);
            hand_over(new_site(i, invalidate_page, 0, Access::Read, 0));
            break;
        case ZYDIS_MNEMONIC_INVPCID:
            effective_address(i, i.memory()->mem);
            hand_over(new_site(i, invalidate_address_space, 0, Access::Read, register_detail(i.operand[0])));
            break;
        case ZYDIS_MNEMONIC_MOV: {
            int from = gpr_number(i.operand[1].reg);
            if (from == scratch0 || from == scratch1)
                as_.load(scratch0, home(from));
            else
                as_.mov(scratch0, from);
            auto name = static_cast<unsigned>(ZydisRegisterGetId(i.operand[0].reg));
            hand_over(new_site(i, load_data_segment, 0, Access::Read, name));
            break;
        }
        default: CHECK(false, "no helper for this instruction");
    }
}

// The callback has found all that may fault. XSAVEOPT is XSAVE, as in the single-step executor: the
// processor's notion of what has been modified is the monitor's.
void Lowering::vector_state(const Instruction& i) {
    bool restore = i.kind == Kind::RestoreVectors;
    save_flags(live_before(i));
    effective_address(i, i.memory()->mem);
    hand_over(
        new_site(i, restore ? restore_vectors : save_vectors, 0, restore ? Access::Read : Access::Write, 0));
    as_.store(spilled_rax, rax);
    as_.store(spilled_rdx, rdx);
    as_.load32(rax, engine_field(offsetof(EngineFrame, component_mask)));
    as_.mov_imm(rdx, 0);
    as_.op_rm(0, i.operand_width == 64, 0x0fae, restore ? 5 : 4, Mem{.base = scratch0});
    as_.load(rax, spilled_rax);
    as_.load(rdx, spilled_rdx);
}

}  // namespace undercroft::translate
