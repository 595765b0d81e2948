// SPDX-License-Identifier: Apache-2.0
// I/O APIC (Intel 82093AA data sheet, section 3; the EOI register as in the ICH9's, version 0x20).
//
// Twenty-four pins, each with a redirection entry that says which vector to send to which local APIC. The
// guest reaches the entries through an index/data window.
//
// A level-triggered pin sends once, and again when the interrupt was completed while its line is still
// asserted. A masked pin loses an edge, as the real part does. Polarity is stored and means nothing: a line
// is asserted or it is not.

#pragma once

#include "base/bits.hpp"
#include "bus.hpp"
#include "interrupt_message.hpp"

#include <array>
#include <cstdint>
#include <functional>

namespace undercroft {

class IoApic final : public Device {
public:
    static constexpr std::uint64_t length = 0x1000;
    static constexpr unsigned pin_count = 24;

    using Deliver = std::function<void(const InterruptMessage&)>;

    struct Entry {  // of the redirection table
        using Vector = Bits<7, 0>;
        using Delivery = Bits<10, 8>;
        using Logical = Bits<11>;
        using RemoteIRR = Bits<14>;  // a level-triggered interrupt is on its way or in service
        using Level = Bits<15>;
        using Masked = Bits<16>;
        using Destination = Bits<63, 56>;
        static constexpr std::uint64_t writable = 0xff00'0000'0001'afff;
    };

    struct State {
        std::uint8_t index = 0;
        std::uint8_t id = 0;
        std::uint32_t lines = 0;  // bit n: pin n is asserted
        std::array<std::uint64_t, pin_count> entries{};
    };

    explicit IoApic(Deliver deliver) : deliver_{std::move(deliver)} { reset(); }

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

    // Asserts or releases the line at `pin`. A pin that does not exist is ignored.
    void set_level(unsigned pin, bool asserted);
    // An edge on `pin`: asserted and released.
    void pulse(unsigned pin);
    // A local APIC has completed the level-triggered interrupt `vector`.
    void end_of_interrupt(std::uint8_t vector);

    void reset();  // masks every pin; the lines are their devices' and stay
    const State& state() const { return state_; }
    void restore(const State& state) { state_ = state; }

private:
    enum class Port : std::uint64_t { Index = 0x00, Data = 0x10, EOI = 0x40 };
    enum class Register : std::uint8_t { Id = 0x00, Version = 0x01, Arbitration = 0x02, Redirection = 0x10 };
    static constexpr std::uint32_t version = (pin_count - 1) << 16 | 0x20;

    std::uint32_t read_register() const;
    void write_register(std::uint32_t value);
    void write_entry(unsigned pin, bool high, std::uint32_t half);
    void send(unsigned pin);
    void send_if_asserted(unsigned pin);  // level-triggered pins

    Deliver deliver_;
    State state_;
};

}  // namespace undercroft
