// SPDX-License-Identifier: Apache-2.0
#include "device/local_apic.hpp"

#include <gtest/gtest.h>

namespace undercroft {
namespace {

constexpr std::uint64_t hz = 2'445'406'000;  // a TSC that no power of ten divides
constexpr std::uint32_t tsc_deadline = 0x6e0;
constexpr std::uint64_t one_shot = 0xec, periodic = 0x200ec, deadline = 0x400ec, masked = 0x10000;

class LocalApicTimerTest : public testing::Test {
protected:
    LocalApicTimerTest() {
        write(ApicRegister::SVR, 0x1ff);
        write(ApicRegister::DivideConfiguration, 0x3);  // by 16
    }

    std::uint64_t read(ApicRegister reg) { return apic_.read(static_cast<std::uint64_t>(reg), 4); }
    void write(ApicRegister reg, std::uint64_t value) {
        apic_.write(static_cast<std::uint64_t>(reg), 4, value);
    }
    void advance_ns(std::uint64_t ns) { clock_.advance(clock_.from_ns(ns)); }
    // What the machine does: waits for the deadline, then runs the timer. Was there an interrupt?
    bool wait() {
        clock_.advance(apic_.next_deadline_ticks().value() - clock_.ticks());
        return run();
    }
    bool run() {
        apic_.run_timer();
        auto vector = apic_.acknowledge();
        if (vector) write(ApicRegister::EOI, 0);
        return vector == 0xec;
    }

    FakeClock clock_{hz};
    unsigned changes_ = 0;
    LocalApic apic_{0, ProcessorRole::Bootstrap, clock_, {.timer_changed = [this] { ++changes_; }}};
};

TEST_F(LocalApicTimerTest, OneShotFiresOnce) {
    write(ApicRegister::LVT_Timer, one_shot);
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    write(ApicRegister::InitialCount, 1'000'000);
    EXPECT_EQ(changes_, 1u);
    EXPECT_EQ(read(ApicRegister::InitialCount), 1'000'000u);
    EXPECT_EQ(read(ApicRegister::CurrentCount), 1'000'000u);
    advance_ns(8'000'000);
    EXPECT_NEAR(static_cast<double>(read(ApicRegister::CurrentCount)), 500'000, 1);
    EXPECT_FALSE(run());
    EXPECT_TRUE(wait());
    EXPECT_NEAR(static_cast<double>(clock_.to_ns(clock_.ticks())), 16e6, 2);
    EXPECT_EQ(read(ApicRegister::CurrentCount), 0u);
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    EXPECT_EQ(changes_, 2u);
    EXPECT_FALSE(run());
}

TEST_F(LocalApicTimerTest, ZeroStops) {
    write(ApicRegister::LVT_Timer, periodic);
    write(ApicRegister::InitialCount, 100'000);
    write(ApicRegister::InitialCount, 0);
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    advance_ns(10'000'000);
    EXPECT_FALSE(run());
}

// Who runs the timer may be on a processor whose clock is behind that of who set it.
TEST_F(LocalApicTimerTest, AClockThatIsBehindIsNotFarAhead) {
    advance_ns(1'000'000);
    for (std::uint64_t mode : {one_shot, periodic}) {
        write(ApicRegister::LVT_Timer, mode);
        write(ApicRegister::InitialCount, 62'500);  // a millisecond
        auto due = apic_.next_deadline_ticks();
        clock_.fall_behind(3000);
        EXPECT_FALSE(run());
        EXPECT_EQ(apic_.next_deadline_ticks(), due);
        EXPECT_EQ(read(ApicRegister::CurrentCount), 62'500u);
        EXPECT_TRUE(wait());
    }
}

TEST_F(LocalApicTimerTest, PeriodicDoesNotDrift) {
    write(ApicRegister::LVT_Timer, periodic);
    write(ApicRegister::InitialCount, 62'500);  // a millisecond
    for (unsigned i = 0; i < 10'000; ++i) ASSERT_TRUE(wait());
    EXPECT_NEAR(static_cast<double>(clock_.to_ns(clock_.ticks())), 1e10, 2);
    EXPECT_GE(read(ApicRegister::CurrentCount), 62'499u);
}

TEST_F(LocalApicTimerTest, MissedPeriodsAreOneInterrupt) {
    write(ApicRegister::LVT_Timer, periodic);
    write(ApicRegister::InitialCount, 62'500);
    advance_ns(10'500'000);
    EXPECT_NEAR(static_cast<double>(read(ApicRegister::CurrentCount)), 31'250, 1);
    EXPECT_TRUE(run());
    EXPECT_FALSE(run());
    EXPECT_TRUE(wait());
    EXPECT_NEAR(static_cast<double>(clock_.to_ns(clock_.ticks())), 11e6, 2);
}

TEST_F(LocalApicTimerTest, AbsurdPeriodsDoNotKeepTheHostBusy) {
    write(ApicRegister::DivideConfiguration, 0xb);
    write(ApicRegister::LVT_Timer, periodic);
    write(ApicRegister::InitialCount, 1);
    for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(wait());
    EXPECT_GE(clock_.to_ns(clock_.ticks()), 99u * 20'000u);
    EXPECT_EQ(read(ApicRegister::CurrentCount), 1u);
}

TEST_F(LocalApicTimerTest, MaskedTimerCountsButIsSilent) {
    write(ApicRegister::LVT_Timer, one_shot | masked);
    write(ApicRegister::InitialCount, 1'000);
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    EXPECT_EQ(read(ApicRegister::CurrentCount), 1'000u);
    advance_ns(16'001);
    write(ApicRegister::LVT_Timer, one_shot);  // expired before
    EXPECT_FALSE(run());
    write(ApicRegister::LVT_Timer, one_shot | masked);
    write(ApicRegister::InitialCount, 1'000);
    advance_ns(8'000);
    write(ApicRegister::LVT_Timer, one_shot);  // in time
    EXPECT_TRUE(wait());
}

TEST_F(LocalApicTimerTest, TheDivisorAppliesToWhatIsLeft) {
    write(ApicRegister::LVT_Timer, one_shot);
    write(ApicRegister::InitialCount, 1'000);
    advance_ns(8'000);
    write(ApicRegister::DivideConfiguration, 0xb);
    EXPECT_NEAR(static_cast<double>(read(ApicRegister::CurrentCount)), 500, 1);
    EXPECT_TRUE(wait());
    EXPECT_NEAR(static_cast<double>(clock_.to_ns(clock_.ticks())), 8'500, 3);
}

TEST_F(LocalApicTimerTest, OneShotAndPeriodicShareTheCount) {
    write(ApicRegister::LVT_Timer, one_shot);
    write(ApicRegister::InitialCount, 10'000);
    advance_ns(80'000);
    write(ApicRegister::LVT_Timer, periodic);
    EXPECT_TRUE(wait());
    EXPECT_TRUE(wait());
    EXPECT_NEAR(static_cast<double>(clock_.to_ns(clock_.ticks())), 320'000, 3);
}

TEST_F(LocalApicTimerTest, TscDeadline) {
    EXPECT_TRUE(apic_.write_msr(tsc_deadline, 1'000));  // not in that mode: ignored
    EXPECT_EQ(apic_.read_msr(tsc_deadline), 0u);
    write(ApicRegister::LVT_Timer, deadline);
    write(ApicRegister::InitialCount, 1'000);  // ignored likewise
    EXPECT_EQ(read(ApicRegister::CurrentCount), 0u);
    EXPECT_TRUE(apic_.write_msr(tsc_deadline, 1'000));
    EXPECT_EQ(apic_.next_deadline_ticks(), 1'000u);
    EXPECT_EQ(apic_.read_msr(tsc_deadline), 1'000u);
    clock_.advance(999);
    EXPECT_FALSE(run());
    clock_.advance(1);
    EXPECT_TRUE(run());
    EXPECT_EQ(apic_.read_msr(tsc_deadline), 0u);
    EXPECT_FALSE(run());
    apic_.write_msr(tsc_deadline, 999);  // passed: at once
    EXPECT_TRUE(run());
    apic_.write_msr(tsc_deadline, 5'000);
    apic_.write_msr(tsc_deadline, 0);
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    EXPECT_GE(changes_, 4u);
}

TEST_F(LocalApicTimerTest, ChangingToAndFromDeadlineModeDisarms) {
    write(ApicRegister::LVT_Timer, one_shot);
    write(ApicRegister::InitialCount, 1'000);
    write(ApicRegister::LVT_Timer, deadline);
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    apic_.write_msr(tsc_deadline, 5'000);
    write(ApicRegister::LVT_Timer, one_shot);
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    clock_.advance(1'000'000);
    EXPECT_FALSE(run());
}

TEST_F(LocalApicTimerTest, SoftwareDisableAndInitStopIt) {
    write(ApicRegister::LVT_Timer, periodic);
    write(ApicRegister::InitialCount, 1'000);
    changes_ = 0;
    write(ApicRegister::SVR, 0xff);
    EXPECT_EQ(changes_, 1u);
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    write(ApicRegister::SVR, 0x1ff);
    write(ApicRegister::LVT_Timer, periodic);
    EXPECT_NE(apic_.next_deadline_ticks(), std::nullopt);
    apic_.init();
    EXPECT_EQ(apic_.next_deadline_ticks(), std::nullopt);
    EXPECT_EQ(read(ApicRegister::CurrentCount), 0u);
}

// Linux compares the count with another clock over a tenth of a second.
TEST_F(LocalApicTimerTest, TheInputClockIsOneGigahertz) {
    write(ApicRegister::LVT_Timer, periodic | masked);
    write(ApicRegister::InitialCount, 0xffffffff);
    std::uint64_t before = read(ApicRegister::CurrentCount);
    advance_ns(100'000'000);
    EXPECT_NEAR(static_cast<double>(before - read(ApicRegister::CurrentCount)), 1e8 / 16, 1);
}

}  // namespace
}  // namespace undercroft
