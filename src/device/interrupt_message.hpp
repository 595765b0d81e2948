// SPDX-License-Identifier: Apache-2.0
// What travels on the interrupt bus: from the I/O APIC and from local APICs to local APICs.
//
// Source: Intel SDM vol. 3A sections 11.6 (interprocessor interrupts) and 11.11 (message format).

#pragma once

#include <cstdint>

namespace undercroft {

enum class DeliveryMode : std::uint8_t {
    Fixed = 0,
    LowestPriority = 1,
    SMI = 2,
    NMI = 4,
    INIT = 5,
    StartUp = 6,  // the vector is the number of the page to start at
    ExtINT = 7,
};

enum class TriggerMode : std::uint8_t { Edge, Level };
enum class DestinationMode : std::uint8_t { Physical, Logical };
enum class Shorthand : std::uint8_t { None, Self, AllIncludingSelf, AllExcludingSelf };

// The physical destination of every APIC. Senders with 8-bit destinations turn their 0xff into this.
inline constexpr std::uint32_t broadcast_destination = 0xffffffff;

struct InterruptMessage {
    std::uint32_t destination = 0;
    DestinationMode destination_mode = DestinationMode::Physical;
    DeliveryMode delivery_mode = DeliveryMode::Fixed;
    TriggerMode trigger_mode = TriggerMode::Edge;
    std::uint8_t vector = 0;

    bool operator==(const InterruptMessage&) const = default;
};

// An interprocessor interrupt. With a shorthand the destination means nothing.
struct Ipi {
    InterruptMessage message = {};
    Shorthand shorthand = Shorthand::None;
    std::uint32_t source = 0;  // the sender's APIC ID

    bool operator==(const Ipi&) const = default;
};

}  // namespace undercroft
