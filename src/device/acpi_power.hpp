// SPDX-License-Identifier: Apache-2.0
// AcpiPower: the sleep and reset registers of hardware-reduced ACPI (ACPI 6.5 sections 4.8.3.7 and 4.8.3.6).
//
// Three byte registers in a row: SLEEP_CONTROL_REG, SLEEP_STATUS_REG, RESET_REG. The FADT gives the guest
// their addresses and the value that resets.
//
// Left out: sleep states other than soft off (S5), which the DSDT does not offer.

#pragma once

#include "bus.hpp"

#include <cstdint>
#include <functional>

namespace undercroft {

class AcpiPower final : public ByteDevice {
public:
    static constexpr std::uint64_t length = 3;
    static constexpr std::uint64_t sleep_control = 0;  // offsets
    static constexpr std::uint64_t sleep_status = 1;
    static constexpr std::uint64_t reset_register = 2;
    static constexpr std::uint8_t soft_off_type = 5;  // SLP_TYP of \_S5
    static constexpr std::uint8_t reset_value = 1;    // FADT RESET_VALUE

    struct Outputs {
        std::function<void()> power_off = [] {};
        std::function<void()> reset = [] {};
    };

    struct State {
        std::uint8_t sleep_type = 0;  // SLEEP_CONTROL_REG without SLP_EN, which reads as zero
    };

    explicit AcpiPower(Outputs outputs) : outputs_{std::move(outputs)} {}

    void reset() { state_ = {}; }
    const State& state() const { return state_; }
    void restore(const State& state) { state_ = state; }

private:
    std::uint8_t read_byte(std::uint64_t offset) override;
    void write_byte(std::uint64_t offset, std::uint8_t value) override;

    Outputs outputs_;
    State state_;
};

}  // namespace undercroft
