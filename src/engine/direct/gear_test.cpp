// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/gear.hpp"

#include <gtest/gtest.h>

namespace undercroft::direct {
namespace {

constexpr std::uint64_t one = 0x1000, other = 0x2000;
constexpr std::uint64_t tick = 4 * Gear::shortest_look;

struct GearTest : testing::Test {
    Gear gear;
    std::uint64_t now = 1'000'000'000;
    std::uint64_t entries = 500;

    // An interrupt, a tick after the last one.
    bool look(std::uint64_t space, std::uint64_t more_entries = 0) {
        now += tick;
        entries += more_entries;
        return gear.looked(space, space, now, entries);
    }
    void shift_up(std::uint64_t space) {
        look(space);
        ASSERT_TRUE(look(space));
    }
    // Stays for as long as costs are looked at once. True: it stays high.
    bool stay(std::uint64_t useful_of_100, std::uint64_t mapping_of_100 = 0) {
        constexpr std::uint64_t part = Gear::window / 100;
        now += Gear::window;
        return gear.stayed(now, Gear::window, part * useful_of_100, part * mapping_of_100);
    }
};

TEST_F(GearTest, IsLowAtFirst) {
    EXPECT_FALSE(gear.is_high(one));
    EXPECT_FALSE(gear.is_high(0));
}

TEST_F(GearTest, TheSecondInterruptThatFindsAProgramComputingShiftsUp) {
    EXPECT_FALSE(look(one));
    EXPECT_FALSE(gear.is_high(one));
    EXPECT_TRUE(look(one));
    EXPECT_TRUE(gear.is_high(one));
    EXPECT_FALSE(gear.is_high(other));
}

TEST_F(GearTest, NotOneThatEntersTheKernelOften) {
    look(one);
    EXPECT_FALSE(look(one, tick / Gear::per_entry + 1));
    EXPECT_FALSE(gear.is_high(one));
    EXPECT_TRUE(look(one, tick / Gear::per_entry));
}

TEST_F(GearTest, NotTwoProgramsInTurn) {
    for (unsigned n = 0; n < 10; ++n) EXPECT_FALSE(look(n % 2 == 0 ? one : other));
}

TEST_F(GearTest, NotByTwoInterruptsAtOnceOrFarApart) {
    look(one);
    EXPECT_FALSE(gear.looked(one, one, now + Gear::shortest_look - 1, entries));
    now += 1000 * Gear::shortest_look;
    EXPECT_FALSE(look(one));
    EXPECT_TRUE(look(one));
}

TEST_F(GearTest, StaysHighWhileThatPays) {
    shift_up(one);
    for (unsigned n = 0; n < 100; ++n) EXPECT_TRUE(stay(60));
    EXPECT_TRUE(gear.is_high(one));
}

TEST_F(GearTest, ShiftsDownWhenMostIsCosts) {
    shift_up(one);
    EXPECT_FALSE(stay(59));
    EXPECT_FALSE(gear.is_high(one));
}

TEST_F(GearTest, LooksAtCostsOverAWhile) {
    shift_up(one);
    EXPECT_TRUE(gear.stayed(now, Gear::window / 4, 0, 0));
    EXPECT_TRUE(gear.stayed(now, Gear::window, Gear::window, 0));
}

// To map its pages is no reason to shift down at first, nor when the program has been at it for long.
TEST_F(GearTest, InvestsInPages) {
    shift_up(one);
    for (unsigned n = 0; n < 3; ++n) EXPECT_TRUE(stay(10, 84)) << n;
    EXPECT_FALSE(stay(10, 84));
    now += 100 * Gear::window;
    shift_up(one);
    for (unsigned n = 0; n < 25; ++n) EXPECT_TRUE(stay(10, 84)) << n;
}

TEST_F(GearTest, ButNotInOneThatDoesNotPayOtherwise) {
    shift_up(one);
    EXPECT_FALSE(stay(10, 82));
}

TEST_F(GearTest, AnotherProgramHasPagesOfItsOwn) {
    shift_up(one);
    while (stay(10, 84)) {
    }
    shift_up(other);
    EXPECT_TRUE(stay(10, 84));
    shift_up(one);
    EXPECT_TRUE(stay(10, 84));
}

// Each time for twice as long, up to a limit; until it has paid.
TEST_F(GearTest, RestsForLongerEachTime) {
    std::uint64_t rest = Gear::first_rest;
    for (unsigned n = 0; n < 8; ++n) {
        shift_up(one);
        ASSERT_FALSE(stay(10));
        std::uint64_t until = now + rest;
        while (now + tick < until) ASSERT_FALSE(look(one)) << n;
        rest = std::min(2 * rest, Gear::longest_rest);
    }
    shift_up(one);
    EXPECT_TRUE(stay(90));
    EXPECT_FALSE(stay(10));
    std::uint64_t until = now + Gear::first_rest;
    while (now + tick < until) ASSERT_FALSE(look(one));
    shift_up(one);
}

TEST_F(GearTest, AnotherProgramNeedNotRest) {
    shift_up(one);
    EXPECT_FALSE(stay(10));
    shift_up(other);
    EXPECT_TRUE(gear.is_high(other));
}

// A program that is started again, in another address space, is known.
TEST_F(GearTest, TheSameProgramInAnotherAddressSpaceRests) {
    shift_up(one);
    EXPECT_FALSE(stay(10));
    now += tick;
    EXPECT_FALSE(gear.looked(other, one, now, entries));
    now += tick;
    EXPECT_FALSE(gear.looked(other, one, now, entries));
    now += Gear::first_rest;
    EXPECT_TRUE(gear.looked(other, one, now, entries));
    EXPECT_TRUE(gear.is_high(other));
}

// With more of them than there are books for, the oldest is forgotten, and no more.
TEST_F(GearTest, ManyProgramsThatRest) {
    for (std::uint64_t n = 1; n <= 9; ++n) {
        shift_up(n << 12);
        gear.shift_down(now);
    }
    look(9 << 12);
    EXPECT_FALSE(look(9 << 12));
    look(1 << 12);
    EXPECT_TRUE(look(1 << 12));
}

}  // namespace
}  // namespace undercroft::direct
