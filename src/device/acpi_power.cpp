// SPDX-License-Identifier: Apache-2.0
#include "acpi_power.hpp"

#include "base/bits.hpp"

namespace undercroft {
namespace {

using SLP_TYP = Bits<4, 2>;
using SLP_EN = Bits<5>;

}  // namespace

std::uint8_t AcpiPower::read_byte(std::uint64_t offset) {
    // WAK_STS in the status register stays clear: this machine never wakes.
    return offset == sleep_control ? state_.sleep_type : 0;
}

void AcpiPower::write_byte(std::uint64_t offset, std::uint8_t value) {
    if (offset == sleep_control) {
        state_.sleep_type = value & SLP_TYP::mask<std::uint8_t>();
        if (SLP_EN::get(value) && SLP_TYP::get(value) == soft_off_type) outputs_.power_off();
    } else if (offset == reset_register && value == reset_value) {
        outputs_.reset();
    }
}

}  // namespace undercroft
