// SPDX-License-Identifier: Apache-2.0
// Which local APICs an interrupt message goes to (Intel SDM vol. 3A sections 11.6.2 to 11.6.4).

#pragma once

#include "interrupt_message.hpp"
#include "local_apic.hpp"

#include <functional>
#include <span>

namespace undercroft {

using InterruptTarget = std::function<void(LocalApic& target)>;

// Calls `deliver` for each target of a message from the I/O APIC. A message in lowest-priority mode has one
// target: among those addressed the one with the lowest processor priority, the first of several.
void route(std::span<LocalApic* const> apics, const InterruptMessage& message,
           const InterruptTarget& deliver);

// The same for an interprocessor interrupt, whose shorthand may stand for a destination.
void route(std::span<LocalApic* const> apics, const Ipi& ipi, const InterruptTarget& deliver);

}  // namespace undercroft
