// SPDX-License-Identifier: Apache-2.0
// Reflecting a trap, and what a fault on the way becomes.
//
// Source: Intel SDM vol. 3A section 6.15, interrupt 8 (table 6-5), and section 17.2 for DR6 and DR7.
#include "cpu/deliver.hpp"

#include "cpu/gate_delivery.hpp"
#include "trace/ring.hpp"

namespace undercroft {
namespace {

enum class Severity : std::uint8_t { Benign, Contributory, PageFault, DoubleFault };

Severity severity(const Trap& trap) noexcept {
    if (trap.kind == TrapKind::SoftwareInterrupt || trap.kind == TrapKind::ExternalInterrupt)
        return Severity::Benign;
    switch (trap.vector) {
        case Vector::DE:
        case Vector::TS:
        case Vector::NP:
        case Vector::SS:
        case Vector::GP: return Severity::Contributory;
        case Vector::PF: return Severity::PageFault;
        case Vector::DF: return Severity::DoubleFault;
        default: return Severity::Benign;
    }
}

// Table 6-5: does `second`, met while delivering `first`, make a double fault?
bool doubles(Severity first, Severity second) noexcept {
    if (first == Severity::Contributory) return second == Severity::Contributory;
    if (first == Severity::PageFault) return second != Severity::Benign;
    return false;
}

// What the processor notes about the exception before it looks at the IDT.
void note_cause(Vcpu& vcpu, const Trap& trap) noexcept {
    if (trap.kind == TrapKind::SoftwareInterrupt || trap.kind == TrapKind::ExternalInterrupt) return;
    if (trap.vector == Vector::PF) vcpu.cr2 = trap.address;
    if (trap.vector == Vector::DB) {
        constexpr std::uint64_t breakpoints = 0xf;
        constexpr std::uint64_t general_detect = 1u << 13;
        vcpu.debug.dr6 = (vcpu.debug.dr6 & ~breakpoints) | trap.address;
        vcpu.debug.dr7 &= ~general_detect;
    }
}

bool attempt(Vcpu& vcpu, const Trap& trap, Trap& fault) noexcept {
    if (vcpu.long_mode()) [[likely]]
        return deliver_in_long_mode(vcpu, trap, fault);
    if ((vcpu.paging.cr0 & CR0::PE) != 0) return deliver_in_protected_mode(vcpu, trap, fault);
    return deliver_in_real_mode(vcpu, trap, fault);
}

// A fault met while delivering `first`: delivers it in turn, or makes it a double fault, or shuts down.
[[gnu::cold, gnu::noinline]] void escalate(Vcpu& vcpu, Trap first, Trap second) noexcept {
    do {
        if (severity(first) == Severity::DoubleFault) {
            vcpu.activity = Activity::Shutdown;
            vcpu.request(Attention::Resync);  // no engine goes on before attend() has said so
            return;
        }
        bool is_double = doubles(severity(first), severity(second));
        if (second.vector == Vector::PF) vcpu.cr2 = second.address;
        first = is_double ? Trap::fault(Vector::DF, 0) : second;
        vcpu.traps.count(first);
        note_cause(vcpu, first);
    } while (!attempt(vcpu, first, second));
}

[[gnu::cold, gnu::noinline]] TraceEvent* record(const Vcpu& vcpu, const Trap& trap) noexcept {
    bool external = trap.kind == TrapKind::ExternalInterrupt;
    return vcpu.trace->record(external ? TraceKind::Interrupt : TraceKind::Trap,
                              {.address = trap.address,
                               .value = trap.error_code,
                               .detail = static_cast<std::uint8_t>(trap.vector)});
}

}  // namespace

void deliver(Vcpu& vcpu, const Trap& trap) noexcept {
    Trap fault;
    TraceEvent* event = nullptr;
    if (vcpu.trace != nullptr) [[unlikely]]
        event = record(vcpu, trap);
    vcpu.traps.count(trap);
    note_cause(vcpu, trap);
    if (!attempt(vcpu, trap, fault)) [[unlikely]] {
        escalate(vcpu, trap, fault);
        if (vcpu.activity == Activity::Shutdown) return;
    }
    if (event != nullptr) [[unlikely]]
        event->target = vcpu.rip;
    vcpu.interrupt_shadow = 0;
    vcpu.activity = Activity::Running;
}

}  // namespace undercroft
