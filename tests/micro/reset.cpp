// SPDX-License-Identifier: Apache-2.0
// The ACPI reset register resets the machine.

#include "runtime/power.hpp"

#include "runtime/run.hpp"

using namespace micro;

void micro_main() {
    check("before the reset", true);
    reset();
}
