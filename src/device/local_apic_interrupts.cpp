// SPDX-License-Identifier: Apache-2.0
// Which interrupt is next (Intel SDM vol. 3A section 11.8).
#include "local_apic.hpp"

namespace undercroft {
namespace {

constexpr unsigned priority_class(unsigned vector) { return vector >> 4; }

}  // namespace

std::uint8_t LocalApic::processor_priority() const {
    int in_service = state_.isr.highest();
    auto serving = in_service < 0 ? 0u : priority_class(static_cast<unsigned>(in_service));
    if (priority_class(state_.tpr) >= serving) return static_cast<std::uint8_t>(state_.tpr);
    return static_cast<std::uint8_t>(serving << 4);
}

bool LocalApic::has_deliverable() const {
    int requested = state_.irr.highest();
    if (requested < 0 || !is_enabled()) return false;
    return priority_class(static_cast<unsigned>(requested)) > priority_class(processor_priority());
}

std::optional<std::uint8_t> LocalApic::acknowledge() {
    if (!has_deliverable()) return {};
    auto vector = static_cast<std::uint8_t>(state_.irr.highest());
    state_.irr.erase(vector);
    state_.isr.insert(vector);
    return vector;
}

void LocalApic::accept(std::uint8_t vector, TriggerMode trigger) {
    if (!is_enabled() || !is_software_enabled()) return;
    if (vector < 16) {
        error(ESR::ReceivedIllegalVector);
        return;
    }
    state_.irr.insert(vector);
    if (trigger == TriggerMode::Level) {
        state_.tmr.insert(vector);
    } else {
        state_.tmr.erase(vector);
    }
    notice_pending();
}

void LocalApic::end_of_interrupt() {
    int in_service = state_.isr.highest();
    if (in_service < 0) return;
    auto vector = static_cast<std::uint8_t>(in_service);
    state_.isr.erase(vector);
    if (state_.tmr.contains(vector)) outputs_.end_of_interrupt(vector);
    notice_pending();
}

void LocalApic::notice_pending() {
    if (has_deliverable()) outputs_.pending_changed();
}

// A local source: what its LVT entry says is to happen.
void LocalApic::fire(ApicRegister entry) {
    std::uint32_t value = lvt(entry);
    if ((value & LVT::Mask) != 0) return;
    accept(static_cast<std::uint8_t>(LVT::VectorField::get(value)), TriggerMode::Edge);
}

void LocalApic::error(std::uint32_t bits) {
    state_.errors |= bits;
    // An illegal vector in the error entry itself must not come back here.
    std::uint32_t entry = lvt(ApicRegister::LVT_Error);
    if (LVT::VectorField::get(entry) >= 16) fire(ApicRegister::LVT_Error);
}

}  // namespace undercroft
