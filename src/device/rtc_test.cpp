// SPDX-License-Identifier: Apache-2.0
#include "device/rtc.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace undercroft {
namespace {

constexpr std::uint64_t second = 1'000'000'000;

class RtcTest : public testing::Test {
protected:
    RtcTest() { clock_.set_wall_base_ns(1'709'251'199 * second); }  // Thu 2024-02-29 23:59:59 UTC

    std::uint64_t read(std::uint64_t reg) {
        device_.write(0, 1, reg);
        return device_.read(1, 1);
    }
    void write(std::uint64_t reg, std::uint64_t value) {
        device_.write(0, 1, reg);
        device_.write(1, 1, value);
    }
    // Year (with century), month, day, hour, minute, second, weekday, as the registers have them.
    std::vector<std::uint64_t> now() {
        return {read(0x32) << 8 | read(9), read(8), read(7), read(4), read(2), read(0), read(6)};
    }
    using Time = std::vector<std::uint64_t>;

    FakeClock clock_;
    Rtc rtc_{clock_};
    Device& device_ = rtc_;
};

TEST_F(RtcTest, ShowsTheWallTimeInBcd) {
    EXPECT_EQ(now(), (Time{0x2024, 0x02, 0x29, 0x23, 0x59, 0x59, 5}));
    clock_.advance(second);
    EXPECT_EQ(now(), (Time{0x2024, 0x03, 0x01, 0x00, 0x00, 0x00, 6}));
    EXPECT_EQ(read(0x0a), 0x26u);
    EXPECT_EQ(read(0x0b), 0x02u);
    EXPECT_EQ(read(0x0c), 0x00u);
    EXPECT_EQ(read(0x0d), 0x80u);
}

TEST_F(RtcTest, BinaryAndTwelveHours) {
    write(0x0b, 0x06);
    EXPECT_EQ(now(), (Time{20 << 8 | 24, 2, 29, 23, 59, 59, 5}));
    write(0x0b, 0x00);
    EXPECT_EQ(read(4), 0x91u);  // 11 pm
    clock_.advance(second);
    EXPECT_EQ(read(4), 0x12u);  // midnight
    clock_.advance(12 * 3600 * second);
    EXPECT_EQ(read(4), 0x92u);  // noon
}

TEST_F(RtcTest, UpdateInProgressBeforeEachSecond) {
    EXPECT_EQ(read(0x0a) & 0x80, 0u);
    clock_.advance(second - 244'001);
    EXPECT_EQ(read(0x0a) & 0x80, 0u);
    clock_.advance(1);
    EXPECT_EQ(read(0x0a) & 0x80, 0x80u);
    clock_.advance(244'000);
    EXPECT_EQ(read(0x0a) & 0x80, 0u);
}

TEST_F(RtcTest, TheGuestSetsTheTime) {
    write(0x0b, 0x82);
    write(0x32, 0x19), write(9, 0x99), write(8, 0x12), write(7, 0x31);
    write(4, 0x23), write(2, 0x59), write(0, 0x58);
    clock_.advance(5 * second);
    EXPECT_EQ(read(0), 0x58u);  // held still
    write(0x0b, 0x02);
    EXPECT_EQ(now(), (Time{0x1999, 0x12, 0x31, 0x23, 0x59, 0x58, 6}));
    clock_.advance(2 * second);
    EXPECT_EQ(now(), (Time{0x2000, 0x01, 0x01, 0x00, 0x00, 0x00, 7}));
    write(2, 0x30);  // without SET
    EXPECT_EQ(now(), (Time{0x2000, 0x01, 0x01, 0x00, 0x30, 0x00, 7}));
    rtc_.reset();
    EXPECT_EQ(read(0x32), 0x20u);
    EXPECT_EQ(read(9), 0x24u);
}

TEST_F(RtcTest, NonsenseIsSomeTime) {
    for (std::uint64_t format : {0x00u, 0x02u, 0x04u, 0x06u}) {
        for (std::uint64_t value : {0x00u, 0x7fu, 0x80u, 0xffu}) {
            write(0x0b, 0x80 | format);
            for (std::uint64_t reg : {0x00u, 0x02u, 0x04u, 0x06u, 0x07u, 0x08u, 0x09u, 0x32u})
                write(reg, value);
            write(0x0b, format);
            EXPECT_LT(read(0), 0x60u);
            EXPECT_GE(read(8), 1u);
        }
    }
}

TEST_F(RtcTest, OtherBytesAreMemory) {
    write(0x0e, 0x5a);
    write(0x7f, 0xa5);
    write(0x8f, 0x11);  // the index has seven bits
    EXPECT_EQ(read(0x0e), 0x5au);
    EXPECT_EQ(read(0xff), 0xa5u);
    EXPECT_EQ(read(0x0f), 0x11u);
    EXPECT_EQ(device_.read(0, 1), 0xffu);
}

}  // namespace
}  // namespace undercroft
