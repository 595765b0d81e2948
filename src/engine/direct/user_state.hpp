// SPDX-License-Identifier: Apache-2.0
// The state of user code between a vCPU and a guest process.

#pragma once

#include "cpu/vcpu.hpp"
#include "direct/guest_process.hpp"

namespace undercroft::direct {

// Is the vCPU in user mode, and all that such code could see of it what the host would show: 64-bit code in
// flat segments with Linux' selectors, the control bits that the host has set, no debugging?
bool is_ordinary(const Vcpu& vcpu) noexcept;

// False: the host does not take it.
[[nodiscard]] bool load_registers(const Vcpu& vcpu, GuestProcess& process);
void load_vectors(const Vcpu& vcpu, GuestProcess& process);
// Back into the vCPU, RIP and all: these registers, and the process' vectors.
void store_state(Vcpu& vcpu, GuestProcess& process, const user_regs_struct& from);

}  // namespace undercroft::direct
