// SPDX-License-Identifier: Apache-2.0
#include "device/kvmclock.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace undercroft {
namespace {

TEST(Kvmclock, GuestsComputeNanoseconds) {
    for (std::uint64_t hz : {1ull, 1'000'000ull, 999'999'999ull, 1'000'000'000ull, 1'000'000'001ull,
                             2'000'000'000ull, 2'445'406'000ull, 3'999'999'999ull, 10'000'000'000ull}) {
        PvclockVcpuTimeInfo info = vcpu_time_info(hz, {.tsc = 12'345, .system_ns = 777}, 2);
        EXPECT_EQ(info.time_at(12'345), 777u) << hz;
        double error = static_cast<double>(info.time_at(12'345 + hz * 100) - 777) - 1e11;
        EXPECT_LT(error < 0 ? -error : error, 100) << hz;  // a nanosecond in a second
        EXPECT_EQ(info.flags, 1);
        EXPECT_EQ(info.version, 2u);
    }
}

TEST(Kvmclock, TheClockIsMonotonicAndLastsForYears) {
    constexpr std::uint64_t hz = 2'445'406'000;
    PvclockVcpuTimeInfo info = vcpu_time_info(hz, {.tsc = 0, .system_ns = 0}, 2);
    std::uint64_t last = 0;
    for (std::uint64_t tsc = 0; tsc < hz * 86'400 * 365 * 10; tsc += hz * 86'400) {
        std::uint64_t now = info.time_at(tsc);
        EXPECT_GE(now, last);
        last = now;
    }
    EXPECT_NEAR(static_cast<double>(last), 86'400e9 * 3649, 1e8 * 4);
}

TEST(Kvmclock, WallClockIsTheMachinesStart) {
    PvclockWallClock clock = wall_clock(1'700'000'005'250'000'000, 2'500'000'000, 4);
    EXPECT_EQ(clock.version, 4u);
    EXPECT_EQ(clock.sec, 1'700'000'002u);
    EXPECT_EQ(clock.nsec, 750'000'000u);
}

TEST(Kvmclock, VersionsAreEven) {
    EXPECT_EQ(next_version(0), 2u);
    EXPECT_EQ(next_version(2), 4u);
    EXPECT_EQ(next_version(3), 4u);
    EXPECT_EQ(next_version(0xffffffff), 0u);
}

TEST(Kvmclock, PublishingGoesThroughAnOddVersion) {
    PvclockVcpuTimeInfo info = vcpu_time_info(1'000'000'000, {.tsc = 5, .system_ns = 9}, 4);
    PvclockVcpuTimeInfo memory{};
    std::vector<std::uint32_t> versions;
    publish(info, [&](std::size_t offset, std::span<const std::byte> bytes) {
        std::memcpy(reinterpret_cast<std::byte*>(&memory) + offset, bytes.data(), bytes.size());
        versions.push_back(memory.version);
    });
    EXPECT_EQ(versions, (std::vector<std::uint32_t>{3, 3, 4}));
    EXPECT_EQ(std::memcmp(&memory, &info, sizeof info), 0);
}

}  // namespace
}  // namespace undercroft
