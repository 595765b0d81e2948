// SPDX-License-Identifier: Apache-2.0
// CLI, STI, CLAC, STAC, PUSHF, POPF, HLT, and the software interrupts.
//
// Source: Intel SDM vol. 2A and 2B. VME and PVI are not shown: above IOPL, CLI and STI are #GP(0). Left out:
// virtual-8086 mode.
#include "cpu/checks.hpp"
#include "cpu/instructions.hpp"

namespace undercroft {
namespace {

bool may_change_interrupt_flag(const Vcpu& vcpu, Trap& trap) noexcept {
    return vcpu.cpl <= vcpu.iopl() ? true : raise(trap, Vector::GP, 0);
}

}  // namespace

bool cli(Vcpu& vcpu, Trap& trap) noexcept {
    if (!may_change_interrupt_flag(vcpu, trap)) return false;
    vcpu.interrupt_flag = 0;
    return true;
}

bool sti(Vcpu& vcpu, Trap& trap) noexcept {
    if (!may_change_interrupt_flag(vcpu, trap)) return false;
    if (vcpu.interrupt_flag == 0) vcpu.interrupt_shadow = 1;
    vcpu.interrupt_flag = 1;
    notice_pending_events(vcpu);
    return true;
}

bool clac(Vcpu& vcpu, Trap& trap) noexcept {
    if (vcpu.cpl != 0) return raise(trap, Vector::UD);
    vcpu.system_flags &= ~RFLAGS::AC;
    return true;
}

bool stac(Vcpu& vcpu, Trap& trap) noexcept {
    if (vcpu.cpl != 0) return raise(trap, Vector::UD);
    vcpu.system_flags |= RFLAGS::AC;
    return true;
}

bool pushf_value(Vcpu& vcpu, OperandSize size, std::uint64_t& value, Trap& trap) noexcept {
    static_cast<void>(trap);
    value = vcpu.rflags() & ~(RFLAGS::VM | RFLAGS::RF);
    if (size == OperandSize::Word) value &= 0xffff;
    return true;
}

bool popf(Vcpu& vcpu, std::uint64_t value, OperandSize size, Trap& trap) noexcept {
    static_cast<void>(trap);
    std::uint64_t mask = RFLAGS::Arithmetic | RFLAGS::TF | RFLAGS::DF | RFLAGS::NT;
    if (size != OperandSize::Word) mask |= RFLAGS::AC | RFLAGS::ID;
    if (vcpu.cpl <= vcpu.iopl()) mask |= RFLAGS::IF;
    if (vcpu.cpl == 0) mask |= RFLAGS::IOPL;
    vcpu.set_rflags(((vcpu.rflags() & ~mask) | (value & mask)) & ~RFLAGS::RF);
    notice_pending_events(vcpu);
    return true;
}

bool hlt(Vcpu& vcpu, Trap& trap) noexcept {
    if (!require_cpl0(vcpu, trap)) return false;
    vcpu.activity = Activity::Halted;
    vcpu.interrupt_shadow = 0;  // HLT completes: an interrupt may wake it at once
    notice_pending_events(vcpu);
    return true;
}

Trap software_interrupt(const Vcpu& vcpu, Vector vector, std::uint64_t next_rip) noexcept {
    static_cast<void>(vcpu);
    return {.vector = vector, .kind = TrapKind::SoftwareInterrupt, .return_rip = next_rip};
}

}  // namespace undercroft
