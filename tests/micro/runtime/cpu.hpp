// SPDX-License-Identifier: Apache-2.0
// The instructions that C++ has no words for, one function each. Intel SDM vol. 2.

#pragma once

#include "x86/paging.hpp"
#include "x86/registers.hpp"
#include "x86/trap.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace micro {

using namespace undercroft;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline void out8(u16 port, u8 value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory"); }
inline u8 in8(u16 port) {
    u8 value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
inline u32 in32(u16 port) {
    u32 value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

inline u64 rdmsr(u32 index) {
    u32 low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index) : "memory");
    return u64{high} << 32 | low;
}
inline u64 rdmsr(Msr index) { return rdmsr(static_cast<u32>(index)); }
inline void wrmsr(u32 index, u64 value) {
    asm volatile("wrmsr" ::"c"(index), "a"(static_cast<u32>(value)), "d"(static_cast<u32>(value >> 32))
                 : "memory");
}
inline void wrmsr(Msr index, u64 value) { wrmsr(static_cast<u32>(index), value); }

inline u64 read_cr0() {
    u64 value;
    asm volatile("mov %%cr0, %0" : "=r"(value)::"memory");
    return value;
}
inline void write_cr0(u64 value) { asm volatile("mov %0, %%cr0" ::"r"(value) : "memory"); }
inline u64 read_cr2() {
    u64 value;
    asm volatile("mov %%cr2, %0" : "=r"(value)::"memory");
    return value;
}
inline void write_cr2(u64 value) { asm volatile("mov %0, %%cr2" ::"r"(value) : "memory"); }
inline u64 read_cr3() {
    u64 value;
    asm volatile("mov %%cr3, %0" : "=r"(value)::"memory");
    return value;
}
inline void write_cr3(u64 value) { asm volatile("mov %0, %%cr3" ::"r"(value) : "memory"); }
inline u64 read_cr4() {
    u64 value;
    asm volatile("mov %%cr4, %0" : "=r"(value)::"memory");
    return value;
}
inline void write_cr4(u64 value) { asm volatile("mov %0, %%cr4" ::"r"(value) : "memory"); }
inline u64 read_cr8() {
    u64 value;
    asm volatile("mov %%cr8, %0" : "=r"(value)::"memory");
    return value;
}
inline void write_cr8(u64 value) { asm volatile("mov %0, %%cr8" ::"r"(value) : "memory"); }
inline u64 read_dr6() {
    u64 value;
    asm volatile("mov %%dr6, %0" : "=r"(value)::"memory");
    return value;
}
inline void write_dr6(u64 value) { asm volatile("mov %0, %%dr6" ::"r"(value) : "memory"); }

inline void invlpg(u64 address) { asm volatile("invlpg (%0)" ::"r"(address) : "memory"); }
inline void invpcid(u64 type, u64 pcid, u64 address) {
    const u64 descriptor[2]{pcid, address};
    asm volatile("invpcid (%0), %1" : : "r"(descriptor), "r"(type) : "memory");
}
inline void cli() { asm volatile("cli" ::: "memory"); }
inline void sti() { asm volatile("sti" ::: "memory"); }
inline void pause() { asm volatile("pause" ::: "memory"); }

inline u64 rdtsc() {
    u32 low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return u64{high} << 32 | low;
}

struct Cpuid {
    u32 eax, ebx, ecx, edx;
};
inline Cpuid cpuid(u32 leaf, u32 subleaf = 0) {
    Cpuid r;
    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

struct [[gnu::packed]] TableRegisterImage {
    u16 limit;
    u64 base;
};
inline void lgdt(const TableRegisterImage& table) { asm volatile("lgdt %0" ::"m"(table) : "memory"); }
inline void lidt(const TableRegisterImage& table) { asm volatile("lidt %0" ::"m"(table) : "memory"); }
inline void ltr(u16 selector) { asm volatile("ltr %0" ::"r"(selector) : "memory"); }

}  // namespace micro
