// SPDX-License-Identifier: Apache-2.0
// Port61: system control port B of the PC/AT, port 0x61 (Intel ICH9 data sheet, section 13.7.1, NMI_SC).
//
// Linux calibrates against timer 2 through it if nothing better is there: bit 5, that timer's output, reads
// as one, so that no such loop runs for ever. Bit 4 toggles with each read, as it did with each memory
// refresh.
//
// Left out: the timer, the speaker and the NMI sources behind the bits; bits 3:0 are only stored.

#pragma once

#include "bus.hpp"

#include <cstdint>

namespace undercroft {

class Port61 final : public ByteDevice {
public:
    static constexpr std::uint64_t length = 1;

    struct State {
        std::uint8_t value = 0;  // bits 4:0
    };

    void reset() { state_ = {}; }
    const State& state() const { return state_; }
    void restore(const State& state) { state_ = state; }

private:
    static constexpr std::uint8_t stored = 0x0f;
    static constexpr std::uint8_t refresh_toggle = 1 << 4;
    static constexpr std::uint8_t timer2_output = 1 << 5;

    std::uint8_t read_byte(std::uint64_t) override {
        state_.value ^= refresh_toggle;
        return state_.value | timer2_output;
    }
    void write_byte(std::uint64_t, std::uint8_t value) override {
        state_.value = static_cast<std::uint8_t>((state_.value & refresh_toggle) | (value & stored));
    }

    State state_;
};

}  // namespace undercroft
