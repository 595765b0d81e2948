// SPDX-License-Identifier: Apache-2.0
// The local APIC's registers and their fields (Intel SDM vol. 3A sections 11.4 to 11.12).

#pragma once

#include "base/bits.hpp"

#include <cstdint>

namespace undercroft {

// Offsets in the xAPIC's page; an x2APIC register is MSR 0x800 + offset / 16.
enum class ApicRegister : std::uint32_t {
    ID = 0x020,
    Version = 0x030,
    TPR = 0x080,
    APR = 0x090,
    PPR = 0x0a0,
    EOI = 0x0b0,
    LDR = 0x0d0,
    DFR = 0x0e0,  // xAPIC only
    SVR = 0x0f0,
    ISR = 0x100,  // eight registers each
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_High = 0x310,  // xAPIC only
    LVT_Timer = 0x320,
    LVT_Thermal = 0x330,
    LVT_PerformanceCounter = 0x340,
    LVT_LINT0 = 0x350,
    LVT_LINT1 = 0x360,
    LVT_Error = 0x370,
    InitialCount = 0x380,
    CurrentCount = 0x390,
    DivideConfiguration = 0x3e0,
    SelfIPI = 0x3f0,  // x2APIC only
};

namespace ApicBase {
inline constexpr std::uint64_t BSP = 1u << 8;
inline constexpr std::uint64_t EXTD = 1u << 10;
inline constexpr std::uint64_t EN = 1u << 11;
inline constexpr std::uint64_t Reserved = 0xfff0'0000'0000'02ff;  // for 52 physical address bits
inline constexpr std::uint64_t DefaultAddress = 0xfee00000;
}  // namespace ApicBase

namespace SVR {
inline constexpr std::uint32_t Enable = 1u << 8;
inline constexpr std::uint32_t Implemented = 0x1ff;
using VectorField = Bits<7, 0>;
}  // namespace SVR

namespace ESR {
inline constexpr std::uint32_t SendIllegalVector = 1u << 5;
inline constexpr std::uint32_t ReceivedIllegalVector = 1u << 6;
inline constexpr std::uint32_t IllegalRegisterAddress = 1u << 7;
}  // namespace ESR

// A local vector table entry.
namespace LVT {
using VectorField = Bits<7, 0>;
using Delivery = Bits<10, 8>;
using TimerMode = Bits<18, 17>;
inline constexpr std::uint32_t DeliveryStatus = 1u << 12;  // read only
inline constexpr std::uint32_t RemoteIRR = 1u << 14;       // read only
inline constexpr std::uint32_t Mask = 1u << 16;
inline constexpr unsigned count = 6;
}  // namespace LVT

enum class ApicTimerMode : std::uint8_t { OneShot, Periodic, TscDeadline, Reserved };

// Interrupt command register.
namespace ICR {
using VectorField = Bits<7, 0>;
using Delivery = Bits<10, 8>;
using Destination = Bits<63, 32>;  // x2APIC
using XapicDestination = Bits<63, 56>;
using ShorthandField = Bits<19, 18>;
inline constexpr std::uint64_t Logical = 1u << 11;
inline constexpr std::uint64_t DeliveryStatus = 1u << 12;  // read only: sending takes no time
inline constexpr std::uint64_t Assert = 1u << 14;
inline constexpr std::uint64_t Level = 1u << 15;
inline constexpr std::uint64_t Implemented = 0xffff'ffff'000c'cfff;
}  // namespace ICR

// What the bits 3, 1 and 0 of the divide configuration register divide the timer's input by.
constexpr std::uint32_t apic_timer_divisor(std::uint32_t configuration) {
    std::uint32_t code = (configuration >> 1 & 4) | (configuration & 3);
    return code == 7 ? 1 : 2u << code;
}
static_assert(apic_timer_divisor(0x0) == 2 && apic_timer_divisor(0x3) == 16);
static_assert(apic_timer_divisor(0x8) == 32 && apic_timer_divisor(0xa) == 128 &&
              apic_timer_divisor(0xb) == 1);

}  // namespace undercroft
