// SPDX-License-Identifier: Apache-2.0
// KVM's paravirtual clock as data: the structures that a guest reads its time from.
//
// Source: Linux Documentation/virt/kvm/x86/msr.rst, arch/x86/include/asm/pvclock-abi.h. The MSRs through
// which the guest says where it wants them are the machine's. A guest computes, from its TSC,
//     system_time + (shift(tsc - tsc_timestamp) * tsc_to_system_mul >> 32)
// nanoseconds. The clock's TSC is constant and the same for every vCPU, so one publication is good for ever.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft {

struct PvclockVcpuTimeInfo {
    static constexpr std::uint8_t TSC_STABLE = 1 << 0;  // the TSCs of all vCPUs agree
    static constexpr std::uint8_t GUEST_STOPPED = 1 << 1;

    std::uint32_t version = 0;  // odd while the structure changes
    std::uint32_t pad0 = 0;
    std::uint64_t tsc_timestamp = 0;
    std::uint64_t system_time = 0;  // ns since the machine's start, at tsc_timestamp
    std::uint32_t tsc_to_system_mul = 0;
    std::int8_t tsc_shift = 0;  // to the left if positive
    std::uint8_t flags = 0;
    std::uint8_t pad[2]{};

    // The nanoseconds that a guest computes at `tsc`.
    std::uint64_t time_at(std::uint64_t tsc) const;
};
static_assert(sizeof(PvclockVcpuTimeInfo) == 32, "the guest reads this layout");
static_assert(offsetof(PvclockVcpuTimeInfo, tsc_timestamp) == 8);
static_assert(offsetof(PvclockVcpuTimeInfo, system_time) == 16);
static_assert(offsetof(PvclockVcpuTimeInfo, tsc_to_system_mul) == 24);
static_assert(offsetof(PvclockVcpuTimeInfo, tsc_shift) == 28);
static_assert(offsetof(PvclockVcpuTimeInfo, flags) == 29);

struct PvclockWallClock {
    std::uint32_t version = 0;
    std::uint32_t sec = 0;  // the wall time when system_time was zero
    std::uint32_t nsec = 0;
};
static_assert(sizeof(PvclockWallClock) == 12, "the guest reads this layout");
static_assert(offsetof(PvclockWallClock, sec) == 4 && offsetof(PvclockWallClock, nsec) == 8);

// The even version after `previous`, which is what the guest's memory holds and may be anything.
constexpr std::uint32_t next_version(std::uint32_t previous) { return (previous | 1) + 1; }

// A reading of both clocks: the guest's TSC and the nanoseconds since the machine's start.
struct KvmclockReading {
    std::uint64_t tsc;
    std::uint64_t system_ns;
};

// `tsc_hz` must not be zero (CHECK). TSC_STABLE is set.
PvclockVcpuTimeInfo vcpu_time_info(std::uint64_t tsc_hz, KvmclockReading reading, std::uint32_t version);

// `wall_ns` (since the Unix epoch) and `system_ns` are read at the same moment.
PvclockWallClock wall_clock(std::uint64_t wall_ns, std::uint64_t system_ns, std::uint32_t version);

// Writes `info` (either structure, with an even version) so that a guest on another vCPU never uses half of
// it: an odd version first, then the fields, then the version. `write(offset, bytes)` writes guest memory in
// order.
template <class Info, class Write>
void publish(const Info& info, Write&& write) {
    std::uint32_t odd = info.version - 1;
    auto bytes = std::as_bytes(std::span{&info, 1});
    write(std::size_t{0}, std::as_bytes(std::span{&odd, 1}));
    write(sizeof odd, bytes.subspan(sizeof odd));
    write(std::size_t{0}, bytes.first(sizeof odd));
}

}  // namespace undercroft
