// SPDX-License-Identifier: Apache-2.0
// The end of a micro-guest: power-off by the ACPI sleep registers that the firmware tables name.

#pragma once

#include "runtime/cpu.hpp"

namespace micro {

// Finds SLEEP_CONTROL_REG and RESET_REG in the FADT (ACPI 6.4 section 5.2.9), from boot_params' RSDP address.
void find_power_registers(const void* boot_params);

[[noreturn]] void power_off();
[[noreturn]] void reset();

}  // namespace micro
