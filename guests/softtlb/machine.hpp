// SPDX-License-Identifier: Apache-2.0
// The instructions that C++ has no words for.

#pragma once

#include <cstdint>

namespace softtlb {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline constexpr u64 page_size = 4096;

inline void out8(u16 port, u8 value) { asm volatile("out %0, %1" : : "a"(value), "Nd"(port)); }
inline u8 in8(u16 port) {
    u8 value;
    asm volatile("in %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

inline void write_msr(u32 index, u64 value) {
    asm volatile("wrmsr" : : "c"(index), "a"(static_cast<u32>(value)), "d"(static_cast<u32>(value >> 32)));
}

inline u64 time_stamp() {
    u32 low;
    u32 high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return u64{high} << 32 | low;
}

inline u32 cpuid_eax(u32 leaf) {
    u32 eax = leaf;
    u32 ebx;
    u32 ecx = 0;
    u32 edx;
    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return eax;
}

}  // namespace softtlb
