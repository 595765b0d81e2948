// SPDX-License-Identifier: Apache-2.0
// What a machine offers of KVM's paravirtual interface beyond its clock, as bits of CPUID 0x40000001.EAX.
// Source: Linux Documentation/virt/kvm/x86/cpuid.rst. docs/machine.md says what is left out, and why.

#pragma once

#include <cstdint>

namespace undercroft::Paravirtual {

inline constexpr std::uint32_t StealTime = 1u << 5;
inline constexpr std::uint32_t TlbFlush = 1u << 9;  // needs StealTime, whose structure it uses
inline constexpr std::uint32_t All = StealTime | TlbFlush;

}  // namespace undercroft::Paravirtual
