// SPDX-License-Identifier: Apache-2.0
// The attention word, between two instructions.
//
// Source: Intel SDM vol. 3A sections 6.7.1 (NMI), 6.8.1 to 6.9 (masking, shadow, priority).
#include "cpu/deliver.hpp"
#include "cpu/environment.hpp"

#include <utility>

namespace undercroft {
namespace {

Attended state_of(const Vcpu& vcpu) noexcept {
    switch (vcpu.activity) {
        case Activity::Running: return Attended::Continue;
        case Activity::Halted:
        case Activity::WaitForSipi: return Attended::Halted;
        case Activity::Shutdown: break;
    }
    vcpu.environment->report(vcpu, Unusual::TripleFault, vcpu.rip);
    return Attended::Shutdown;
}

Attended vector_to(Vcpu& vcpu, Vector vector) noexcept {
    deliver(vcpu, {.vector = vector, .kind = TrapKind::ExternalInterrupt});
    return state_of(vcpu);
}

}  // namespace

Attended attend(Vcpu& vcpu) noexcept {
    // Cleared before the causes are looked at: what comes later sets its bit again.
    std::uint32_t bits = vcpu.attention.exchange(0, std::memory_order_acquire);
    for (auto [bit, attended] :
         {std::pair{Attention::Stop, Attended::Stop}, std::pair{Attention::Preempt, Attended::Preempt}}) {
        if ((bits & bit) == 0) continue;
        if (bits != bit) vcpu.request(bits & ~bit);
        return attended;
    }
    return attend_to(vcpu, bits);
}

Attended attend_to(Vcpu& vcpu, std::uint32_t bits) noexcept {
    if ((bits & Attention::Notice) != 0) vcpu.mmu->code_pages().serve();
    if (vcpu.activity == Activity::WaitForSipi) bits &= ~Attention::Nmi;  // it takes none, then or later
    if ((bits & Attention::Start) != 0) take_start_requests(vcpu);
    if ((bits & Attention::Nmi) != 0) vcpu.pending_nmi = 1;
    if ((bits & Attention::Interrupt) != 0) vcpu.pending_interrupt = 1;
    if (vcpu.activity == Activity::Shutdown || vcpu.activity == Activity::WaitForSipi) return state_of(vcpu);

    bool shadow = vcpu.interrupt_shadow != 0 && vcpu.activity == Activity::Running;
    if (vcpu.pending_nmi != 0 && vcpu.nmi_blocked == 0) {
        if (shadow) {
            vcpu.request(Attention::Nmi);
        } else {
            vcpu.pending_nmi = 0;
            vcpu.nmi_blocked = 1;
            if (vcpu.pending_interrupt != 0)
                vcpu.request(Attention::Interrupt);  // if the NMI handler lets it in
            return vector_to(vcpu, Vector::NMI);
        }
    }
    if (vcpu.pending_interrupt != 0 && vcpu.interrupt_flag != 0) {
        if (shadow) {
            vcpu.request(Attention::Interrupt);
        } else {
            // What stays in the local APIC is of lower priority: it says so when it becomes deliverable.
            vcpu.pending_interrupt = 0;
            if (auto vector = vcpu.environment->acknowledge_interrupt(vcpu))
                return vector_to(vcpu, Vector{*vector});
        }
    }
    return state_of(vcpu);
}

}  // namespace undercroft
