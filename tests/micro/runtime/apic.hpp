// SPDX-License-Identifier: Apache-2.0
// The local APIC in either mode, and the I/O APIC. Intel SDM vol. 3A chapter 11; 82093AA.

#pragma once

#include "runtime/cpu.hpp"

namespace micro {

enum class ApicRegister : u32 {
    Id = 0x20,
    Version = 0x30,
    TaskPriority = 0x80,
    ProcessorPriority = 0xa0,
    EndOfInterrupt = 0xb0,
    LogicalDestination = 0xd0,
    DestinationFormat = 0xe0,
    Spurious = 0xf0,
    InService = 0x100,
    TriggerMode = 0x180,
    Request = 0x200,
    ErrorStatus = 0x280,
    InterruptCommand = 0x300,
    InterruptCommandHigh = 0x310,
    LvtTimer = 0x320,
    LvtLint0 = 0x350,
    LvtLint1 = 0x360,
    LvtError = 0x370,
    InitialCount = 0x380,
    CurrentCount = 0x390,
    DivideConfiguration = 0x3e0,
};

namespace ApicBase {
inline constexpr u64 Enable = 1u << 11;
inline constexpr u64 X2Apic = 1u << 10;
}  // namespace ApicBase

inline constexpr u32 timer_periodic = 1u << 17;
inline constexpr u32 timer_tsc_deadline = 2u << 17;
inline constexpr u32 lvt_masked = 1u << 16;
inline constexpr u32 delivery_nmi = 4u << 8;
inline constexpr u32 shorthand_self = 1u << 18;
inline constexpr u64 apic_address = 0xfee00000;

inline bool in_x2apic_mode() { return (rdmsr(Msr::IA32_APIC_BASE) & ApicBase::X2Apic) != 0; }
inline u32 x2apic_msr(ApicRegister which) { return 0x800 + (static_cast<u32>(which) >> 4); }

inline u32 apic_read(ApicRegister which, u32 word = 0) {
    const u32 offset = static_cast<u32>(which) + word * 16;
    if (in_x2apic_mode()) return static_cast<u32>(rdmsr(0x800 + (offset >> 4)));
    return *reinterpret_cast<volatile u32*>(apic_address + offset);
}
inline void apic_write(ApicRegister which, u32 value) {
    if (in_x2apic_mode()) return wrmsr(x2apic_msr(which), value);
    *reinterpret_cast<volatile u32*>(apic_address + static_cast<u32>(which)) = value;
}

inline u32 apic_id() {
    return in_x2apic_mode() ? apic_read(ApicRegister::Id) : apic_read(ApicRegister::Id) >> 24;
}
inline void end_of_interrupt() { apic_write(ApicRegister::EndOfInterrupt, 0); }

// Software-enables the local APIC, spurious vector 0xff, everything in the local vector table masked.
void start_apic();

// Sends this processor an interrupt; `mode` is a delivery mode (zero: fixed).
void send_self(u32 vector, u32 mode = 0);

// One bit of a 256-bit register (InService, TriggerMode, Request).
inline bool apic_bit(ApicRegister first, u32 vector) {
    return apic_read(first, vector / 32) >> vector % 32 & 1;
}

u32 io_apic_read(u32 index);
void io_apic_write(u32 index, u32 value);

// Spins with interrupts as they are until `holds`, for some seconds at most; false if it never did.
template <class Predicate>
bool eventually(Predicate holds) {
    const u64 start = rdtsc();
    while (!holds()) {
        pause();
        if (rdtsc() - start > 20'000'000'000) return false;
    }
    return true;
}

}  // namespace micro
