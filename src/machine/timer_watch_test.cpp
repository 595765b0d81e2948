// SPDX-License-Identifier: Apache-2.0
#include "machine/timer_watch.hpp"

#include "x86/registers.hpp"

#include <gtest/gtest.h>
#include <poll.h>

namespace undercroft {
namespace {

constexpr std::uint32_t timer_lvt = 0x832;  // x2APIC MSRs
constexpr std::uint32_t spurious = 0x80f;
constexpr std::uint64_t tsc_deadline_mode = 2 << 17 | 0x40;

struct TimerWatchTest : testing::Test {
    FakeClock clock;
    Alarm alarm = *Alarm::create();
    int fired = 0;
    LocalApic apic{0, ProcessorRole::Bootstrap, clock, {.pending_changed = [this] { ++fired; }}};
    TimerWatch watch{apic, clock, alarm};

    void SetUp() override {
        clock.advance(1'000'000);
        auto base = apic.read_msr(static_cast<std::uint32_t>(Msr::IA32_APIC_BASE));
        ASSERT_TRUE(apic.write_msr(static_cast<std::uint32_t>(Msr::IA32_APIC_BASE), *base | 1u << 10));
        ASSERT_TRUE(apic.write_msr(spurious, 0x1ff));
        ASSERT_TRUE(apic.write_msr(timer_lvt, tsc_deadline_mode));
    }
    void arm(std::uint64_t ticks) {
        ASSERT_TRUE(apic.write_msr(static_cast<std::uint32_t>(Msr::IA32_TSC_DEADLINE), ticks));
        watch.changed();
    }
    bool rings(int timeout_ms = 0) const {
        pollfd wait{.fd = alarm.fd(), .events = POLLIN, .revents = 0};
        return poll(&wait, 1, timeout_ms) > 0;
    }
};

TEST_F(TimerWatchTest, TheAlarmRingsForARunningGuest) {
    arm(clock.ticks() + 1'000'000);
    EXPECT_TRUE(rings(10'000));
    alarm.acknowledge();
    watch.rang();
    EXPECT_EQ(fired, 0) << "too early by the guest's clock";
    EXPECT_TRUE(rings(10'000)) << "so it was set again";
    clock.advance(1'000'000);
    watch.rang();
    EXPECT_EQ(fired, 1);
}

TEST_F(TimerWatchTest, AHaltedGuestWaitsByItself) {
    std::uint64_t deadline = clock.ticks() + 1'000'000;
    arm(deadline);
    EXPECT_EQ(watch.halt(), deadline);
    EXPECT_FALSE(rings(20));
    clock.advance(1'000'000);
    watch.resume();
    EXPECT_EQ(fired, 1);
    EXPECT_EQ(watch.halt(), std::nullopt);
}

TEST_F(TimerWatchTest, WokenBySomethingElseItSetsTheAlarmAgain) {
    arm(clock.ticks() + 1'000'000);
    (void)watch.halt();
    watch.resume();
    EXPECT_TRUE(rings(10'000));
}

}  // namespace
}  // namespace undercroft
