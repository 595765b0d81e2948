// SPDX-License-Identifier: Apache-2.0
// Exceptions and interrupts as data.
//
// A Trap is control that reaches the monitor from guest code: what a processor would have vectored through
// the IDT. It is plain data; delivering it to the guest kernel's own handler is cpu/deliver.
// Source: Intel SDM vol. 3A chapter 6.

#pragma once

#include <cstdint>

namespace undercroft {

enum class Vector : std::uint8_t {
    DE = 0,  // divide error
    DB = 1,  // debug
    NMI = 2,
    BP = 3,  // breakpoint (int3)
    OF = 4,  // overflow
    BR = 5,
    UD = 6,   // invalid opcode
    NM = 7,   // device not available
    DF = 8,   // double fault
    TS = 10,  // invalid TSS
    NP = 11,  // segment not present
    SS = 12,  // stack fault
    GP = 13,  // general protection
    PF = 14,  // page fault
    MF = 16,  // x87 error
    AC = 17,  // alignment check
    MC = 18,
    XM = 19,  // SIMD floating point
};

// Which RIP the frame on the handler's stack shows, and whether privilege of the gate is checked.
enum class TrapKind : std::uint8_t {
    Fault,              // RIP of the instruction; RF is pushed as one
    Trap,               // RIP of the next instruction (int3, into, #DB single step); already in the frame
    SoftwareInterrupt,  // INT n, INT3, INTO: gate DPL is checked against CPL; RIP of the next instruction
    ExternalInterrupt,  // from the APIC or NMI: the EXT bit of error codes raised meanwhile is one
};

struct Trap {
    Vector vector = Vector::UD;
    TrapKind kind = TrapKind::Fault;
    bool has_error_code = false;
    std::uint32_t error_code = 0;
    std::uint64_t address = 0;  // CR2 for PF; DR6 bits to set for DB
    std::uint64_t return_rip =
        0;  // SoftwareInterrupt: the RIP to push; a fault on the way reports the vCPU's RIP

    static constexpr Trap fault(Vector v) { return {.vector = v}; }
    static constexpr Trap fault(Vector v, std::uint32_t error) {
        return {.vector = v, .has_error_code = true, .error_code = error};
    }
    static constexpr Trap page_fault(std::uint64_t address, std::uint32_t error) {
        return {.vector = Vector::PF, .has_error_code = true, .error_code = error, .address = address};
    }
};

// Error-code bits of #PF.
namespace PageFault {
inline constexpr std::uint32_t P = 1u << 0;     // a protection violation rather than a missing page
inline constexpr std::uint32_t W = 1u << 1;     // the access was a write
inline constexpr std::uint32_t U = 1u << 2;     // the access was made in user mode
inline constexpr std::uint32_t RSVD = 1u << 3;  // a reserved bit was set in a table entry
inline constexpr std::uint32_t I = 1u << 4;     // the access was an instruction fetch (NX or SMEP enabled)
}  // namespace PageFault

}  // namespace undercroft
