// SPDX-License-Identifier: Apache-2.0
#include "board.hpp"

#include "cpu/vcpu.hpp"
#include "device/interrupt_routing.hpp"
#include "machine/layout.hpp"

#include <utility>

namespace undercroft {

Board::Board(const Clock& clock, ConsoleOutput& console_output, ConsoleInput& console_input, Outputs outputs,
             unsigned processors)
    : console_input_{console_input},
      outputs_{std::move(outputs)},
      ports_{outputs_.unclaimed_port},
      memory_{outputs_.unclaimed_memory},
      io_apic_{[this](const InterruptMessage& message) {
          route(targets_, message, [&](LocalApic& target) { deliver(message, target); });
      }},
      serial_{
          {.transmit = [&console_output](std::span<const std::byte> bytes) { console_output.append(bytes); },
           .interrupt = [this](bool level) { io_apic_.set_level(layout::com1_gsi, level); },
           .room = [this] { feed_serial(); }}},
      power_{{.power_off = outputs_.power_off, .reset = outputs_.reset}},
      rtc_{clock} {
    for (unsigned n = 0; n < processors; ++n) {
        local_apics_.push_back(make_local_apic(n, clock));
        targets_.push_back(local_apics_.back().get());
    }
    auto attach = [](Bus& bus, layout::Range range, std::string_view name, Device& device) {
        bus.attach(range.first, range.length, name, device);
    };
    attach(ports_, layout::com1, "COM1", serial_);
    attach(ports_, layout::acpi_power, "ACPI power", power_);
    attach(ports_, layout::rtc, "RTC", rtc_);
    attach(ports_, layout::port61, "system control B", port61_);
    attach(ports_, layout::post, "POST", post_);
    attach(memory_, layout::local_apic, "local APIC", local_apic_page_);
    attach(memory_, layout::io_apic, "I/O APIC", io_apic_);
}

std::unique_ptr<LocalApic> Board::make_local_apic(unsigned processor, const Clock& clock) {
    LocalApic::Outputs outputs{
        .send =
            [this](const Ipi& ipi) {
                route(targets_, ipi, [&](LocalApic& target) { deliver(ipi.message, target); });
            },
        .end_of_interrupt = [this](std::uint8_t vector) { io_apic_.end_of_interrupt(vector); },
        .pending_changed = [this, processor] { outputs_.attention(processor, Attention::Interrupt); },
        .timer_changed = [this, processor] { outputs_.timer_changed(processor); }};
    auto role = processor == 0 ? ProcessorRole::Bootstrap : ProcessorRole::Application;
    return std::make_unique<LocalApic>(processor, role, clock, std::move(outputs));
}

// A boot processor that INIT is sent to would begin at the firmware, which we have not: a reset. SMI and
// ExtINT have no source on this board.
void Board::deliver(const InterruptMessage& message, LocalApic& target) {
    switch (message.delivery_mode) {
        case DeliveryMode::Fixed:
        case DeliveryMode::LowestPriority: target.accept(message.vector, message.trigger_mode); break;
        case DeliveryMode::NMI: outputs_.nmi(target.id()); break;
        case DeliveryMode::INIT:
            if (target.id() == 0) {
                outputs_.reset();
            } else {
                target.init();
                outputs_.init(target.id());
            }
            break;
        case DeliveryMode::StartUp:
            if (target.id() != 0) outputs_.start_up(target.id(), message.vector);
            break;
        case DeliveryMode::SMI:
        case DeliveryMode::ExtINT: break;
    }
}

std::uint64_t Board::read_port(unsigned processor, std::uint16_t port, unsigned size) {
    accessor_ = processor;
    return ports_.read(port, size);
}

void Board::write_port(unsigned processor, std::uint16_t port, unsigned size, std::uint64_t value) {
    accessor_ = processor;
    ports_.write(port, size, value);
}

std::uint64_t Board::read_memory(unsigned processor, std::uint64_t address, unsigned size) {
    accessor_ = processor;
    return memory_.read(address, size);
}

void Board::write_memory(unsigned processor, std::uint64_t address, unsigned size, std::uint64_t value) {
    accessor_ = processor;
    memory_.write(address, size, value);
}

std::uint64_t Board::LocalApicPage::read(std::uint64_t offset, unsigned size) {
    return board_.local_apic(board_.accessor_).read(offset, size);
}

void Board::LocalApicPage::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    board_.local_apic(board_.accessor_).write(offset, size, value);
}

void Board::attach_virtio(unsigned slot, Device& device) {
    layout::Range registers = layout::virtio_slot(slot);
    memory_.attach(registers.first, registers.length, "virtio", device);
}

void Board::set_virtio_line(unsigned slot, bool asserted) {
    io_apic_.set_level(layout::virtio_first_gsi + slot, asserted);
}

void Board::press_power_button() { io_apic_.pulse(layout::power_button_gsi); }

void Board::feed_serial() {
    console_input_.feed([this](std::span<const std::byte> bytes) { return serial_.receive(bytes); });
}

}  // namespace undercroft
