// SPDX-License-Identifier: Apache-2.0
#include "engine/step/step.hpp"

#include "cpu/deliver.hpp"
#include "engine/step/context.hpp"
#include "engine/step/debug.hpp"
#include "engine/step/fetch.hpp"
#include "engine/step/guard.hpp"
#include "engine/step/native_code.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {

struct StepExecutor::State {
    NativeCode native;
    InstructionFetcher fetcher{native};
    Statistics statistics;
};

namespace {

Trap debug_trap(TrapKind kind, std::uint64_t dr6_bits) {
    return {.vector = Vector::DB, .kind = kind, .address = dr6_bits};
}

bool is_iret(const Instruction& instruction) {
    return instruction.mnemonic == ZYDIS_MNEMONIC_IRET || instruction.mnemonic == ZYDIS_MNEMONIC_IRETD ||
           instruction.mnemonic == ZYDIS_MNEMONIC_IRETQ;
}

// MOV SS and POP SS hold back the single-step trap with the interrupts, STI does not; SYSCALL masks it with
// TF.
bool steps_over(const Vcpu& vcpu, const Instruction& instruction) {
    if (instruction.mnemonic == ZYDIS_MNEMONIC_SYSCALL) return (vcpu.system_flags & RFLAGS::TF) == 0;
    return vcpu.interrupt_shadow != 0 && instruction.mnemonic != ZYDIS_MNEMONIC_STI;
}

StepResult deliver_trap(Vcpu& vcpu, const Trap& trap) {
    deliver(vcpu, trap);
    return StepResult::Trapped;
}

// Everything but the plain case: traps after the instruction, RF.
StepResult finish(Context& context, Outcome outcome, std::uint64_t flags_before) {
    Vcpu& vcpu = context.vcpu;
    const Instruction& instruction = context.instruction;
    if ((flags_before & RFLAGS::RF) != 0 && outcome != Outcome::Again && !is_iret(instruction)) {
        vcpu.system_flags &= ~RFLAGS::RF;
    }
    std::uint64_t dr6 = context.breakpoints;
    if ((flags_before & RFLAGS::TF) != 0 && !steps_over(vcpu, instruction)) dr6 |= Breakpoint::BS;
    if (dr6 != 0) return deliver_trap(vcpu, debug_trap(TrapKind::Trap, dr6));
    return outcome == Outcome::Halted ? StepResult::Halted : StepResult::Done;
}

}  // namespace

StepExecutor::StepExecutor() : state_{std::make_unique<State>()} { install_guard(); }
StepExecutor::~StepExecutor() = default;

const StepExecutor::Statistics& StepExecutor::statistics() const {
    state_->statistics.decoded = state_->fetcher.decoded();
    state_->statistics.unknown = state_->fetcher.unknown();
    return state_->statistics;
}

StepResult StepExecutor::step(Vcpu& vcpu) {
    state_->statistics.instructions++;
    units_ = 1;
    std::uint64_t flags_before = vcpu.system_flags;
    Trap trap;
    if (has_breakpoints(vcpu) && (flags_before & RFLAGS::RF) == 0) [[unlikely]] {
        std::uint64_t linear = vcpu.rip + (vcpu.code_64bit() ? 0 : vcpu.seg(SegmentName::CS).base);
        std::uint8_t met = breakpoints_met(vcpu, linear, 1, Access::Execute);
        if (met != 0) return deliver_trap(vcpu, debug_trap(TrapKind::Fault, met));
    }
    const Instruction* instruction = state_->fetcher.fetch(vcpu, trap);
    if (instruction == nullptr) return deliver_trap(vcpu, trap);

    Context context{vcpu, *instruction, vcpu.access_mode(), state_->native};
    context.element_limit = element_limit_;
    vcpu.interrupt_shadow = 0;
    Outcome outcome = instruction->execute(context);
    if (outcome == Outcome::Fault) {
        units_ += context.elements;
        return deliver_trap(vcpu, context.trap);
    }
    if (context.elements != 0) units_ = context.elements;
    paused_ = context.paused;
    if (outcome == Outcome::Next) vcpu.rip = context.next_rip();
    bool plain = (flags_before & (RFLAGS::TF | RFLAGS::RF)) == 0 && context.breakpoints == 0;
    if (plain && outcome != Outcome::Halted) [[likely]]
        return StepResult::Done;
    return finish(context, outcome, flags_before);
}

}  // namespace undercroft
