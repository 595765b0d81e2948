// SPDX-License-Identifier: Apache-2.0
#include "board.hpp"

#include "cpu/vcpu.hpp"
#include "device/interrupt_routing.hpp"
#include "machine/layout.hpp"

#include <array>
#include <utility>

namespace undercroft {

Board::Board(const Clock& clock, ConsoleOutput& console_output, ConsoleInput& console_input, Outputs outputs)
    : console_input_{console_input},
      outputs_{std::move(outputs)},
      ports_{outputs_.unclaimed_port},
      memory_{outputs_.unclaimed_memory},
      local_apic_{0,
                  ProcessorRole::Bootstrap,
                  clock,
                  {.send =
                       [this](const Ipi& ipi) {
                           route(std::array{&local_apic_}, ipi,
                                 [&](LocalApic& target) { deliver(ipi.message, target); });
                       },
                   .end_of_interrupt = [this](std::uint8_t vector) { io_apic_.end_of_interrupt(vector); },
                   .pending_changed = [this] { outputs_.attention(Attention::Interrupt); },
                   .timer_changed = [this] { outputs_.timer_changed(); }}},
      io_apic_{[this](const InterruptMessage& message) {
          route(std::array{&local_apic_}, message, [&](LocalApic& target) { deliver(message, target); });
      }},
      serial_{
          {.transmit = [&console_output](std::span<const std::byte> bytes) { console_output.append(bytes); },
           .interrupt = [this](bool level) { io_apic_.set_level(layout::com1_gsi, level); },
           .room = [this] { feed_serial(); }}},
      power_{{.power_off = outputs_.power_off, .reset = outputs_.reset}},
      rtc_{clock} {
    auto attach = [](Bus& bus, layout::Range range, std::string_view name, Device& device) {
        bus.attach(range.first, range.length, name, device);
    };
    attach(ports_, layout::com1, "COM1", serial_);
    attach(ports_, layout::acpi_power, "ACPI power", power_);
    attach(ports_, layout::rtc, "RTC", rtc_);
    attach(ports_, layout::port61, "system control B", port61_);
    attach(ports_, layout::post, "POST", post_);
    attach(memory_, layout::local_apic, "local APIC", local_apic_);
    attach(memory_, layout::io_apic, "I/O APIC", io_apic_);
}

// INIT and start-up IPIs have no other processor to go to, and a boot processor that sends INIT to itself
// asks for what a reset is. SMI and ExtINT have no source on this board.
void Board::deliver(const InterruptMessage& message, LocalApic& target) {
    switch (message.delivery_mode) {
        case DeliveryMode::Fixed:
        case DeliveryMode::LowestPriority: target.accept(message.vector, message.trigger_mode); break;
        case DeliveryMode::NMI: outputs_.attention(Attention::Nmi); break;
        case DeliveryMode::INIT: outputs_.reset(); break;
        case DeliveryMode::StartUp:
        case DeliveryMode::SMI:
        case DeliveryMode::ExtINT: break;
    }
}

void Board::feed_serial() {
    console_input_.feed([this](std::span<const std::byte> bytes) { return serial_.receive(bytes); });
}

}  // namespace undercroft
