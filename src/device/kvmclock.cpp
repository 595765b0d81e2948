// SPDX-License-Identifier: Apache-2.0
#include "kvmclock.hpp"

#include "base/check.hpp"

namespace undercroft {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t second_ns = 1'000'000'000;

}  // namespace

std::uint64_t PvclockVcpuTimeInfo::time_at(std::uint64_t tsc) const {
    std::uint64_t delta = tsc - tsc_timestamp;
    delta = tsc_shift < 0 ? delta >> -tsc_shift : delta << tsc_shift;
    return system_time + static_cast<std::uint64_t>(Wide{delta} * tsc_to_system_mul >> 32);
}

PvclockVcpuTimeInfo vcpu_time_info(std::uint64_t tsc_hz, KvmclockReading reading, std::uint32_t version) {
    CHECK(tsc_hz != 0);
    // Shift the frequency into (1, 2] GHz: then the multiplier is a fraction in [1/2, 1) with all its 32
    // bits.
    std::uint64_t shifted_hz = tsc_hz;
    int shift = 0;
    for (; shifted_hz > 2 * second_ns; --shift) shifted_hz >>= 1;
    for (; shifted_hz <= second_ns; ++shift) shifted_hz <<= 1;
    // From the frequency itself, so that the bits which were shifted out count.
    Wide ratio = shift <= 0 ? ((Wide{second_ns} << (32 - shift)) / tsc_hz)
                            : ((Wide{second_ns} << 32) / (Wide{tsc_hz} << shift));
    return {.version = version,
            .tsc_timestamp = reading.tsc,
            .system_time = reading.system_ns,
            .tsc_to_system_mul = static_cast<std::uint32_t>(ratio),
            .tsc_shift = static_cast<std::int8_t>(shift),
            .flags = PvclockVcpuTimeInfo::TSC_STABLE};
}

PvclockWallClock wall_clock(std::uint64_t wall_ns, std::uint64_t system_ns, std::uint32_t version) {
    std::uint64_t start_ns = wall_ns - system_ns;
    return {.version = version,
            .sec = static_cast<std::uint32_t>(start_ns / second_ns),
            .nsec = static_cast<std::uint32_t>(start_ns % second_ns)};
}

}  // namespace undercroft
