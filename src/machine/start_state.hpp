// SPDX-License-Identifier: Apache-2.0
// How the boot processor starts a kernel: long mode, as the Linux/x86 64-bit boot protocol asks.

#pragma once

#include "boot/load.hpp"
#include "cpu/vcpu.hpp"

namespace undercroft {

// After power-on reset: loads what `entry` and the protocol say. The vCPU's connections (mmu, environment …)
// stay.
void set_start_state(Vcpu& vcpu, const boot::EntryState& entry);

}  // namespace undercroft
