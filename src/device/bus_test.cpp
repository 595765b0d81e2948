// SPDX-License-Identifier: Apache-2.0
#include "device/bus.hpp"

#include <gtest/gtest.h>

#include <utility>

namespace undercroft {
namespace {

struct Recorder final : Device {
    std::uint64_t read(std::uint64_t offset, unsigned size) override {
        last = {offset, size};
        return ~std::uint64_t{0} - 0x0f;
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
        last = {offset, size};
        written = value;
    }
    std::pair<std::uint64_t, unsigned> last{~std::uint64_t{0}, 0};
    std::uint64_t written = 0;
};

struct Bytes final : ByteDevice {
    std::uint8_t read_byte(std::uint64_t offset) override { return static_cast<std::uint8_t>(0x10 + offset); }
    void write_byte(std::uint64_t offset, std::uint8_t value) override { seen.emplace_back(offset, value); }
    std::vector<std::pair<std::uint64_t, std::uint8_t>> seen;
};

TEST(Bus, GivesOffsetsAndTruncatesToTheSize) {
    Recorder low, high;
    Bus bus;
    bus.attach(0x2000, 0x1000, "high", high);
    bus.attach(0x100, 8, "low", low);
    EXPECT_EQ(bus.read(0x104, 1), 0xf0u);
    EXPECT_EQ(low.last, std::make_pair(std::uint64_t{4}, 1u));
    bus.write(0x2ff8, 2, 0x12345678);
    EXPECT_EQ(high.last, std::make_pair(std::uint64_t{0xff8}, 2u));
    EXPECT_EQ(high.written, 0x5678u);
    EXPECT_EQ(bus.read(0x2ff8, 8), ~std::uint64_t{0} - 0x0f);
    EXPECT_EQ(bus.name_at(0x107), "low");
    EXPECT_EQ(bus.name_at(0x108), "");
    EXPECT_EQ(bus.unclaimed_count(), 0u);
}

TEST(Bus, UnclaimedAccessesReadOnesAndAreReportedOnce) {
    std::vector<std::pair<std::uint64_t, Access>> reports;
    Bus bus{[&](std::uint64_t address, Access access) { reports.emplace_back(address, access); }};
    Recorder device;
    bus.attach(0x100, 8, "device", device);
    EXPECT_EQ(bus.read(0x99, 1), 0xffu);
    EXPECT_EQ(bus.read(0x99, 4), 0xffffffffu);
    EXPECT_EQ(bus.read(0x98, 8), ~std::uint64_t{0});
    bus.write(0x200, 2, 1);
    bus.write(0x99, 1, 1);
    EXPECT_EQ(bus.unclaimed_count(), 5u);
    std::vector<std::pair<std::uint64_t, Access>> expected{
        {0x99, Access::Read}, {0x98, Access::Read}, {0x200, Access::Write}};
    EXPECT_EQ(reports, expected);
}

TEST(Bus, AnAccessAcrossADevicesEndIsUnclaimed) {
    Recorder device, top;
    Bus bus;
    bus.attach(0x100, 8, "device", device);
    bus.attach(~std::uint64_t{0} - 7, 8, "top", top);
    EXPECT_EQ(bus.read(0x107, 2), 0xffffu);
    bus.write(0x105, 4, 0);
    EXPECT_EQ(bus.read(~std::uint64_t{0}, 8), ~std::uint64_t{0});
    EXPECT_EQ(bus.unclaimed_count(), 3u);
    EXPECT_EQ(device.last.second, 0u);
}

TEST(Bus, ReportsAreBounded) {
    unsigned reports = 0;
    Bus bus{[&](std::uint64_t, Access) { ++reports; }};
    for (std::uint64_t address = 0; address < 10'000; ++address) bus.read(address, 1);
    EXPECT_EQ(reports, 256u);
    EXPECT_EQ(bus.unclaimed_count(), 10'000u);
}

TEST(Bus, ByteDevicesSeeWideAccessesAsBytes) {
    Bytes device;
    Bus bus;
    bus.attach(0x10, 4, "bytes", device);
    EXPECT_EQ(bus.read(0x10, 4), 0x13121110u);
    bus.write(0x12, 2, 0xbbaa);
    std::vector<std::pair<std::uint64_t, std::uint8_t>> expected{{2, 0xaa}, {3, 0xbb}};
    EXPECT_EQ(device.seen, expected);
}

TEST(BusDeathTest, OverlapIsOurError) {
    Recorder device;
    Bus bus;
    bus.attach(0x100, 8, "a", device);
    EXPECT_DEATH(bus.attach(0x107, 1, "b", device), "two devices claim");
    EXPECT_DEATH(bus.attach(0xff, 2, "b", device), "two devices claim");
    EXPECT_DEATH(bus.attach(0, 0, "b", device), "empty");
}

}  // namespace
}  // namespace undercroft
