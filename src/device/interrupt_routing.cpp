// SPDX-License-Identifier: Apache-2.0
#include "interrupt_routing.hpp"

namespace undercroft {
namespace {

template <class Addressed>
void route_to(std::span<LocalApic* const> apics, DeliveryMode mode, const Addressed& addressed,
              const InterruptTarget& deliver) {
    if (mode != DeliveryMode::LowestPriority) {
        for (LocalApic* apic : apics) {
            if (addressed(*apic)) deliver(*apic);
        }
        return;
    }
    LocalApic* lowest = nullptr;
    for (LocalApic* apic : apics) {
        if (!addressed(*apic) || !apic->is_software_enabled()) continue;
        if (lowest == nullptr || apic->processor_priority() < lowest->processor_priority()) lowest = apic;
    }
    if (lowest != nullptr) deliver(*lowest);
}

}  // namespace

void route(std::span<LocalApic* const> apics, const InterruptMessage& message,
           const InterruptTarget& deliver) {
    auto addressed = [&](const LocalApic& apic) {
        return apic.is_addressed_by(message.destination, message.destination_mode);
    };
    route_to(apics, message.delivery_mode, addressed, deliver);
}

void route(std::span<LocalApic* const> apics, const Ipi& ipi, const InterruptTarget& deliver) {
    if (ipi.shorthand == Shorthand::None) {
        route(apics, ipi.message, deliver);
        return;
    }
    auto addressed = [&](const LocalApic& apic) {
        if (!apic.is_enabled()) return false;
        bool self = apic.id() == ipi.source;
        return ipi.shorthand == Shorthand::AllIncludingSelf || self == (ipi.shorthand == Shorthand::Self);
    };
    route_to(apics, ipi.message.delivery_mode, addressed, deliver);
}

}  // namespace undercroft
