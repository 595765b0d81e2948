// SPDX-License-Identifier: Apache-2.0
// Privileged and sensitive instructions: a few inline, the others as callbacks.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {
namespace {
constexpr Mem system_flags = vcpu_field(offsetof(Vcpu, system_flags));
constexpr Mem kernel_gs_base = vcpu_field(offsetof(Vcpu, kernel_gs_base));
}  // namespace

void Lowering::hand_over(Site* site, HostCode thunk) {
    take_scratch1();
    as_.lea_rip(scratch1, reinterpret_cast<HostCode>(static_cast<Callback*>(site)));
    note_relative();
    as_.jmp(thunk);
    note_relative();
    site->resume = as_.here();
    clobber_flags();
}

void Lowering::callback(const Instruction& i, CallbackFunction function, unsigned size, unsigned detail) {
    save_flags(live_before(i));
    hand_over(new_site(i, function, size, Access::Read, detail));
}

// The block ends after the next instruction, with a poll: the interrupt shadow is exactly that instruction.
void Lowering::sti(const Instruction& i) {
    save_flags(live_before(i));
    take_scratch1();
    as_.store8_imm(frame_interrupt_flag, 1);
    as_.cmp8_imm(frame_pending_interrupt, 0);
    Site* site = new_site(i, interrupt_window, 0, Access::Read, 0);
    cold_.push_back({.jumps = {as_.address(as_.jcc(Condition::NE))}, .record = site});
    site->resume = as_.here();
    clobber_flags();
}

// AC selects the access mode, which is baked into the code: the next instruction is in a block of the other
// mode.
void Lowering::stac_clac(const Instruction& i, const Edges& edges) {
    save_flags(live_before(i));
    bool set = i.mnemonic == ZYDIS_MNEMONIC_STAC;
    constexpr auto ac = static_cast<std::int32_t>(RFLAGS::AC);
    as_.alu32_imm(set ? Alu::Or : Alu::And, system_flags, set ? ac : ~ac);
    clobber_flags();
    exit_to(i, i.next_rip(), edges.next_live, set ? AccessMode::SupervisorAc : AccessMode::Supervisor);
}

void Lowering::swap_gs() {
    take_scratch1();
    as_.load(scratch0, segment_base(SegmentName::GS));
    as_.load(scratch1, kernel_gs_base);
    as_.store(segment_base(SegmentName::GS), scratch1);
    as_.store(kernel_gs_base, scratch0);
}

namespace {

Mem system_field(const Instruction& i) {
    if (i.mnemonic == ZYDIS_MNEMONIC_RDFSBASE) return segment_base(SegmentName::FS);
    if (i.mnemonic == ZYDIS_MNEMONIC_RDGSBASE) return segment_base(SegmentName::GS);
    constexpr std::size_t paging = offsetof(Vcpu, paging);
    switch (i.operand[1].reg) {
        case ZYDIS_REGISTER_CR0: return vcpu_field(paging + offsetof(PagingState, cr0));
        case ZYDIS_REGISTER_CR2: return vcpu_field(offsetof(Vcpu, cr2));
        case ZYDIS_REGISTER_CR3: return vcpu_field(paging + offsetof(PagingState, cr3));
        case ZYDIS_REGISTER_CR4: return vcpu_field(paging + offsetof(PagingState, cr4));
        default: break;
    }
    auto n = static_cast<std::size_t>(ZydisRegisterGetId(i.operand[1].reg));
    return vcpu_field(offsetof(Vcpu, segment) + n * sizeof(Segment) + offsetof(Segment, selector));
}

}  // namespace

void Lowering::read_system(const Instruction& i) {
    int reg = gpr_number(i.operand[0].reg);
    bool at_home = reg == scratch0 || reg == scratch1;
    int to = at_home ? scratch0 : reg;
    bool selector =
        i.mnemonic == ZYDIS_MNEMONIC_MOV && ZydisRegisterGetClass(i.operand[1].reg) == ZYDIS_REGCLASS_SEGMENT;
    if (selector && i.operand_width == 16) {  // leaves the upper bits
        if (at_home) as_.load(to, home(reg));
        as_.op_rm(0x66, false, 0x8b, to, system_field(i));
    } else if (selector)
        as_.load16_zero_extended(to, system_field(i));
    else if (i.operand[0].size == 32)
        as_.load32(to, system_field(i));
    else
        as_.load(to, system_field(i));
    if (at_home) as_.store(home(reg), to);
}

void Lowering::read_tsc(const Instruction& i) {
    constexpr int rcx = 1;
    constexpr int rdx = 2;
    save_flags(live_before(i));
    emit_bytes(i);
    as_.shl_imm(rdx, 32);
    as_.alu(Alu::Or, rdx, rax);
    as_.alu(Alu::Add, rdx, vcpu_field(offsetof(Vcpu, tsc_offset)));
    as_.mov32(rax, rdx);
    as_.shr_imm(rdx, 32);
    if (i.mnemonic == ZYDIS_MNEMONIC_RDTSCP) as_.load32(rcx, vcpu_field(offsetof(Vcpu, tsc_aux)));
    clobber_flags();
}

}  // namespace undercroft::translate
