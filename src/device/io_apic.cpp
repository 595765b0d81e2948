// SPDX-License-Identifier: Apache-2.0
#include "io_apic.hpp"

namespace undercroft {

void IoApic::reset() {
    state_.index = 0;
    state_.id = 0;
    state_.entries.fill(Entry::Masked::mask<std::uint64_t>());
}

std::uint64_t IoApic::read(std::uint64_t offset, unsigned) {
    switch (Port{offset}) {
        case Port::Index: return state_.index;
        case Port::Data: return read_register();
        case Port::EOI: break;  // write only
    }
    return 0;  // the rest of the page is reserved
}

std::uint32_t IoApic::read_register() const {
    if (state_.index >= static_cast<std::uint8_t>(Register::Redirection)) {
        unsigned half = state_.index - static_cast<unsigned>(Register::Redirection);
        if (half / 2 >= pin_count) return 0;
        return static_cast<std::uint32_t>(state_.entries[half / 2] >> (half % 2 * 32));
    }
    switch (Register{state_.index}) {
        case Register::Version: return version;
        case Register::Id:
        case Register::Arbitration: return std::uint32_t{state_.id} << 24;
        case Register::Redirection: break;
    }
    return 0;
}

void IoApic::write(std::uint64_t offset, unsigned, std::uint64_t value) {
    switch (Port{offset}) {
        case Port::Index: state_.index = static_cast<std::uint8_t>(value); break;
        case Port::Data: write_register(static_cast<std::uint32_t>(value)); break;
        case Port::EOI: end_of_interrupt(static_cast<std::uint8_t>(value)); break;
    }
}

void IoApic::write_register(std::uint32_t value) {
    if (state_.index == static_cast<std::uint8_t>(Register::Id)) {
        state_.id = static_cast<std::uint8_t>(value >> 24 & 0xf);
    } else if (state_.index >= static_cast<std::uint8_t>(Register::Redirection)) {
        unsigned half = state_.index - static_cast<unsigned>(Register::Redirection);
        if (half / 2 < pin_count) write_entry(half / 2, half % 2 != 0, value);
    }
}

void IoApic::write_entry(unsigned pin, bool high, std::uint32_t half) {
    std::uint64_t& entry = state_.entries[pin];
    std::uint64_t wanted =
        high ? Bits<63, 32>::set(entry, std::uint64_t{half}) : Bits<31, 0>::set(entry, std::uint64_t{half});
    entry = (entry & ~Entry::writable) | (wanted & Entry::writable);
    // Linux completes a stuck interrupt by making the pin edge-triggered for a moment.
    if (!Entry::Level::get(entry)) entry = Entry::RemoteIRR::set(entry, std::uint64_t{0});
    send_if_asserted(pin);
}

void IoApic::set_level(unsigned pin, bool asserted) {
    if (pin >= pin_count) return;
    std::uint32_t bit = 1u << pin;
    bool was_asserted = (state_.lines & bit) != 0;
    state_.lines = asserted ? state_.lines | bit : state_.lines & ~bit;
    if (!asserted || was_asserted) return;
    if (Entry::Level::get(state_.entries[pin])) {
        send_if_asserted(pin);
    } else if (!Entry::Masked::get(state_.entries[pin])) {
        send(pin);
    }
}

void IoApic::pulse(unsigned pin) {
    set_level(pin, true);
    set_level(pin, false);
}

void IoApic::end_of_interrupt(std::uint8_t vector) {
    for (unsigned pin = 0; pin < pin_count; ++pin) {
        std::uint64_t& entry = state_.entries[pin];
        if (!Entry::RemoteIRR::get(entry) || Entry::Vector::get(entry) != vector) continue;
        entry = Entry::RemoteIRR::set(entry, std::uint64_t{0});
        send_if_asserted(pin);
    }
}

void IoApic::send_if_asserted(unsigned pin) {
    std::uint64_t entry = state_.entries[pin];
    bool asserted = (state_.lines >> pin & 1) != 0;
    if (!asserted || !Entry::Level::get(entry) || Entry::Masked::get(entry) || Entry::RemoteIRR::get(entry)) {
        return;
    }
    state_.entries[pin] = Entry::RemoteIRR::set(entry, std::uint64_t{1});
    send(pin);
}

void IoApic::send(unsigned pin) {
    std::uint64_t entry = state_.entries[pin];
    auto destination = static_cast<std::uint32_t>(Entry::Destination::get(entry));
    bool logical = Entry::Logical::get(entry) != 0;
    deliver_({.destination = destination == 0xff && !logical ? broadcast_destination : destination,
              .destination_mode = logical ? DestinationMode::Logical : DestinationMode::Physical,
              .delivery_mode = DeliveryMode{static_cast<std::uint8_t>(Entry::Delivery::get(entry))},
              .trigger_mode = Entry::Level::get(entry) ? TriggerMode::Level : TriggerMode::Edge,
              .vector = static_cast<std::uint8_t>(Entry::Vector::get(entry))});
}

}  // namespace undercroft
