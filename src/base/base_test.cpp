// SPDX-License-Identifier: Apache-2.0
#include "base/bits.hpp"
#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/polling.hpp"
#include "base/result.hpp"

#include <gtest/gtest.h>

namespace undercroft {
namespace {

static_assert(Bits<63, 56>::mask<std::uint64_t>() == 0xff00000000000000ull);
static_assert(Bits<16>::mask<std::uint64_t>() == 0x10000);
static_assert(Bits<63, 0>::mask<std::uint64_t>() == ~0ull);
static_assert(Bits<31, 0>::set(~std::uint64_t{0}, std::uint64_t{0x12345678}) == 0xffffffff12345678ull);

Result<int> parse(bool good) {
    if (!good) return Error{"not a number"};
    return 7;
}

TEST(Result, CarriesValueOrReason) {
    EXPECT_EQ(*parse(true), 7);
    auto bad = parse(false);
    ASSERT_FALSE(bad);
    EXPECT_EQ(std::move(bad.error()).in("memory").message, "memory: not a number");
}

TEST(File, MissingFileNamesItselfAndTheReason) {
    auto bytes = read_file("/nonexistent/file");
    ASSERT_FALSE(bytes);
    EXPECT_EQ(bytes.error().message, "'/nonexistent/file': No such file or directory");
    auto folder = read_file("/");
    ASSERT_FALSE(folder);
    EXPECT_EQ(folder.error().message, "'/': not a regular file");
}

// How often somebody looked who waits for what comes with the look of this number, by a clock that each look
// at it advances by one.
unsigned looks(Polling& polling, unsigned comes, std::uint64_t until = 1000) {
    unsigned looked = 0;
    std::uint64_t time = 0;
    bool came = polling.wait([&] { return ++looked == comes; }, until, [&] { return time++; });
    EXPECT_EQ(came, looked == comes);
    return looked;
}

TEST(Polling, LooksUntilItHasComeOrItsTimeIsOver) {
    Polling polling{10};
    EXPECT_EQ(looks(polling, 1), 1u);
    EXPECT_EQ(looks(polling, 5), 5u);
    EXPECT_EQ(looks(polling, 0), 11u);
    Polling other{10};
    EXPECT_EQ(looks(other, 0, 3), 4u);
}

TEST(Polling, LeavesOutMoreAndMoreAfterThoseInVain) {
    Polling polling{10};
    for (unsigned left_out : {1u, 3u, 7u, 15u, 31u, 63u, 63u}) {
        EXPECT_EQ(looks(polling, 0), 11u);
        for (unsigned n = 0; n < left_out; ++n) EXPECT_EQ(looks(polling, 0), 1u);
    }
    EXPECT_EQ(looks(polling, 2), 2u);
    EXPECT_EQ(looks(polling, 0), 11u) << "one that was worth it counts for all";
    EXPECT_EQ(looks(polling, 0), 1u);
}

TEST(Clock, FakeClockAdvancesByHand) {
    FakeClock clock{2'000'000'000};
    clock.advance(4'000'000'000);
    EXPECT_EQ(clock.to_ns(clock.ticks()), 2'000'000'000u);
    EXPECT_EQ(clock.from_ns(5), 10u);
}

TEST(Clock, HostFrequencyIsPlausible) {
    HostClock clock;
    EXPECT_GT(clock.hz(), 500'000'000u);
    EXPECT_LT(clock.hz(), 10'000'000'000u);
}

TEST(Log, OnceIsBounded) {
    Once once{2};
    EXPECT_TRUE(once.first(1));
    EXPECT_FALSE(once.first(1));
    EXPECT_TRUE(once.first(2));
    EXPECT_FALSE(once.first(3));
}

TEST(Log, LinesNameWhomTheirThreadWorksFor) {
    testing::internal::CaptureStderr();
    log(LogLevel::Warn, "one");
    {
        LogSubject web{"web"};
        log(LogLevel::Warn, "two");
        {
            LogSubject nobody{""};
            log(LogLevel::Warn, "three");
        }
        EXPECT_EQ(LogSubject::current(), "web");
        log(LogLevel::Error, "four");
    }
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "undercroft: warn: one\nundercroft: warn: web: two\nundercroft: warn: three\n"
              "undercroft: error: web: four\n");
    EXPECT_EQ(LogSubject::current(), "");
}

}  // namespace
}  // namespace undercroft
