// SPDX-License-Identifier: Apache-2.0
// Hardware breakpoints: which of DR0..DR3 an access or an instruction meets.
//
// Source: Intel SDM vol. 3B section 17.2 (in later editions 18.2).

#pragma once

#include "cpu/vcpu.hpp"

#include <cstdint>

namespace undercroft {

namespace Breakpoint {
inline constexpr std::uint64_t Enabled = 0xff;  // L0 G0 .. L3 G3 in DR7
inline constexpr std::uint64_t B = 0xf;         // B0..B3 in DR6
inline constexpr std::uint64_t BS = 1u << 14;   // single step, in DR6
}  // namespace Breakpoint

inline bool has_breakpoints(const Vcpu& vcpu) { return (vcpu.debug.dr7 & Breakpoint::Enabled) != 0; }

// The DR6 bits of the enabled breakpoints that [linear, linear + size) meets. An execution is met by its
// first byte.
std::uint8_t breakpoints_met(const Vcpu& vcpu, std::uint64_t linear, unsigned size, Access access);

// The same for ports [port, port + size), of either direction. Only with CR4.DE are there any.
std::uint8_t port_breakpoints_met(const Vcpu& vcpu, std::uint16_t port, unsigned size);

}  // namespace undercroft
