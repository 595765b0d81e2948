// SPDX-License-Identifier: Apache-2.0
// Rtc: the CMOS real-time clock of a PC (Motorola MC146818A data sheet), index at offset 0 and data at 1.
//
// The time is the clock's wall time, UTC, plus what the guest has added by setting it. It is kept in BCD and
// 24 hours after reset; binary and 12 hours are what register B says. Register 0x32 is the century. UIP is
// set during the last 244 us of each second, and the registers change at the second. The other bytes are
// memory.
//
// Left out: alarm, periodic and update interrupts (register C reads as zero), daylight saving, stopping the
// divider.

#pragma once

#include "base/clock.hpp"
#include "bus.hpp"

#include <array>
#include <cstdint>

namespace undercroft {

class Rtc final : public ByteDevice {
public:
    static constexpr std::uint64_t length = 2;

    struct State {
        std::uint8_t index = 0;
        std::array<std::uint8_t, 128> bytes{};  // the time's registers only while the guest sets them
        std::int64_t offset_s = 0;              // the guest's time minus the host's
    };

    explicit Rtc(const Clock& clock) : clock_{clock} { reset(); }

    void reset();  // power-up: the host's time, memory zero
    const State& state() const { return state_; }
    void restore(const State& state) { state_ = state; }

private:
    enum class Register : std::uint8_t;

    std::uint8_t read_byte(std::uint64_t offset) override;
    void write_byte(std::uint64_t offset, std::uint8_t value) override;
    std::uint8_t read_register(std::uint8_t index);
    void write_register(std::uint8_t index, std::uint8_t value);

    bool setting() const;  // register B's SET: the guest holds the time still
    bool updating() const;
    void load_time();   // clock -> registers
    void store_time();  // registers -> offset
    std::uint8_t encode(unsigned value) const;
    unsigned decode(std::uint8_t value) const;
    std::uint8_t& at(Register which);

    const Clock& clock_;
    State state_;
};

}  // namespace undercroft
