// SPDX-License-Identifier: Apache-2.0
// Interprocessor interrupts (Intel SDM vol. 3A section 11.6) and who is meant by a destination
// (11.6.2, 11.12.10).
#include "local_apic.hpp"

namespace undercroft {

void LocalApic::write_icr(std::uint64_t value) {
    state_.icr = value & ICR::Implemented;
    auto mode = DeliveryMode{static_cast<std::uint8_t>(ICR::Delivery::get(value))};
    auto vector = static_cast<std::uint8_t>(ICR::VectorField::get(value));
    switch (mode) {
        case DeliveryMode::Fixed:
        case DeliveryMode::LowestPriority:
            if (vector >= 16) break;
            error(ESR::SendIllegalVector);
            return;
        case DeliveryMode::INIT:
            // The level de-assert only synchronised arbitration IDs, before the Pentium 4.
            if ((value & ICR::Level) != 0 && (value & ICR::Assert) == 0) return;
            break;
        case DeliveryMode::NMI:
        case DeliveryMode::StartUp: break;
        default: return;  // SMI and what is reserved
    }
    Ipi ipi{.message = {.destination = static_cast<std::uint32_t>(ICR::Destination::get(value)),
                        .destination_mode = (value & ICR::Logical) != 0 ? DestinationMode::Logical
                                                                        : DestinationMode::Physical,
                        .delivery_mode = mode,
                        .vector = vector},
            .shorthand = Shorthand{static_cast<std::uint8_t>(ICR::ShorthandField::get(value))},
            .source = id_};
    if (!is_x2apic()) {
        ipi.message.destination = static_cast<std::uint32_t>(ICR::XapicDestination::get(value));
        if (ipi.message.destination == 0xff && ipi.message.destination_mode == DestinationMode::Physical) {
            ipi.message.destination = broadcast_destination;
        }
    }
    if (ipi.shorthand == Shorthand::Self && mode == DeliveryMode::Fixed) {
        accept(vector, TriggerMode::Edge);
    } else {
        outputs_.send(ipi);
    }
}

std::uint32_t LocalApic::logical_id() const {
    if (!is_x2apic()) return state_.ldr;
    return (id_ >> 4) << 16 | 1u << (id_ & 0xf);
}

bool LocalApic::is_addressed_by(std::uint32_t destination, DestinationMode mode) const {
    if (!is_enabled()) return false;
    if (destination == broadcast_destination) return true;
    std::uint32_t logical = logical_id();
    if (is_x2apic()) {
        if (mode == DestinationMode::Physical) return destination == id_;
        return destination >> 16 == logical >> 16 && (destination & logical & 0xffff) != 0;
    }
    if (mode == DestinationMode::Physical) return destination == id_;
    std::uint32_t mine = logical >> 24;
    std::uint32_t theirs = destination & 0xff;
    if (state_.dfr >> 28 == 0xf) return (mine & theirs) != 0;  // flat
    if (theirs == 0xff) return true;
    return mine >> 4 == theirs >> 4 && (mine & theirs & 0xf) != 0;  // cluster
}

}  // namespace undercroft
