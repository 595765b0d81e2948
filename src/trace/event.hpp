// SPDX-License-Identifier: Apache-2.0
// TraceEvent: one thing that brought control from a guest to the monitor or back, as a line of a trace.

#pragma once

#include <cstdint>

namespace undercroft {

// What happened. In parentheses, what the event's fields mean beyond those that all events have.
enum class TraceKind : std::uint8_t {
    SystemCall,    // SYSCALL (address: behind it; value: RAX; target: the guest's handler)
    SystemReturn,  // SYSRET (target: where to)
    Trap,       // an exception or INT n, reflected (detail: vector; address: CR2; value: error code; target)
    Interrupt,  // from the local APIC, or NMI (detail: vector; target)
    InterruptReturn,  // IRET (target; detail: CPL there)
    TlbMiss,          // of the software TLB (address; detail: 0 to read, 1 to write, 2 to execute)
    TlbFill,          // the miss before was served (address; value: PFN; target: MFN, zero: no RAM; detail:
                      // FillSource)
    AddressSpace,     // CR3 written (value)
    DeviceRead,       // (detail: DeviceSpace; address; value; target: how long it took, in ticks)
    DeviceWrite,
    Hypercall,  // (value: its number; address, target: its first two arguments)
    TurnBegin,  // a processor of the host begins to run the vCPU (value: the processor)
    TurnEnd,    // ... and ends, for another (value: the processor; detail: why, as the scheduler names it)
};
inline constexpr unsigned trace_kind_count = 13;

// The last one: the TLB of a guest that fills it by itself (docs/softtlb.md).
enum class FillSource : std::uint8_t { PageTable, SecondLevelTlb, GuestFilledTlb };
enum class DeviceSpace : std::uint8_t { Port, Memory, Msr };

struct alignas(64) TraceEvent {
    std::uint64_t ticks;          // the host's TSC
    std::uint64_t rip;            // of the instruction that did it, or was interrupted
    std::uint64_t address_space;  // CR3 then
    std::uint64_t address;
    std::uint64_t value;
    std::uint64_t target;
    TraceKind kind;
    std::uint8_t cpl;  // then
    std::uint8_t detail;
};
static_assert(sizeof(TraceEvent) == 64, "an event is written to one cache line");

}  // namespace undercroft
