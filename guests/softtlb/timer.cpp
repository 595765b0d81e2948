// SPDX-License-Identifier: Apache-2.0
// Source: Intel SDM vol. 3A chapter 10. Its registers are device memory: the window shows that, too.
#include "timer.hpp"

#include "descriptors.hpp"
#include "tlb.hpp"

namespace softtlb {
namespace {

constexpr u64 local_apic = 0xfee00000;
constexpr u64 end_register = 0xb0, spurious_register = 0xf0, timer_entry = 0x320, initial_count = 0x380,
              divide = 0x3e0;
constexpr u32 enabled = 1u << 8, periodic = 1u << 17, masked = 1u << 16, by_one = 0xb;

volatile u32& apic(u64 offset) { return *at_physical<volatile u32>(local_apic + offset); }

}  // namespace

void start_timer(u64 ticks_per_second) {
    constexpr u64 bus_frequency = 1'000'000'000;
    apic(spurious_register) = enabled | vector::spurious;
    apic(divide) = by_one;
    apic(timer_entry) = periodic | vector::timer;
    apic(initial_count) = static_cast<u32>(bus_frequency / ticks_per_second);
}

void stop_timer() {
    apic(timer_entry) = masked | vector::timer;
    apic(initial_count) = 0;
}

void end_of_interrupt() { apic(end_register) = 0; }

}  // namespace softtlb
