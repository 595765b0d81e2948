// SPDX-License-Identifier: Apache-2.0
#include "memory/reclaim.hpp"
#include "memory/fake_tenant.hpp"
#include "memory/page_sharing.hpp"
#include "memory/swap_file.hpp"

#include <gtest/gtest.h>
#include <immintrin.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace undercroft {
namespace {

using test::FakeTenant;
using test::pages;

struct Reclaiming : testing::Test {
    static constexpr std::uint64_t limit = pages / 4;

    explicit Reclaiming(std::uint64_t slots = SwapFile::most_slots) {
        auto swap = SwapFile::create(testing::TempDir(), slots);
        EXPECT_TRUE(swap) << swap.error().message;
        pool->set_limit(limit, *std::move(swap));
        reclaim.emplace(pool, [this](const std::string& text) {
            std::lock_guard lock{mutex};
            said.push_back(text);
            changed.notify_all();
        });
    }
    void wait_until_said(std::size_t count) {
        std::unique_lock lock{mutex};
        ASSERT_TRUE(changed.wait_for(lock, std::chrono::minutes{1}, [&] { return said.size() >= count; }));
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> said;
    std::shared_ptr<FramePool> pool = *FramePool::create();
    std::optional<Reclaim> reclaim;
};

// A page's contents, by which it is known again. Every other page is mostly zero, so it can be compressed.
std::uint64_t pattern(std::uint64_t pfn, std::uint64_t salt, std::uint64_t word) {
    if (pfn % 2 == 0 && word % 8 != 0) return 0;
    return (pfn * 0x9e3779b97f4a7c15 ^ salt) * (2 * word + 1);
}

void write_page(FakeTenant& tenant, std::uint64_t pfn, std::uint64_t salt) {
    FakeTenant::Turn executing{tenant};
    auto* words = reinterpret_cast<std::uint64_t*>(tenant.guest_memory().writable(GuestPhysical{pfn << 12}));
    for (unsigned n = 0; n < 512; ++n) words[n] = pattern(pfn, salt, n);
}

bool is_right(FakeTenant& tenant, std::uint64_t pfn, std::uint64_t salt) {
    FakeTenant::Turn executing{tenant};
    const auto* words =
        reinterpret_cast<const std::uint64_t*>(tenant.guest_memory().readable(GuestPhysical{pfn << 12}));
    for (unsigned n = 0; n < 512; ++n)
        if (words[n] != pattern(pfn, salt, n)) return false;
    return true;
}

TEST_F(Reclaiming, FourTimesThePoolFindsEveryByte) {
    FakeTenant tenant{pool};
    reclaim->add(tenant);
    for (unsigned round = 0; round < 5; ++round) {
        for (std::uint64_t pfn = 0; pfn < pages; ++pfn) write_page(tenant, pfn, round);
        for (std::uint64_t pfn = 0; pfn < pages; ++pfn) ASSERT_TRUE(is_right(tenant, pfn, round)) << pfn;
    }
    EXPECT_GT(reclaim->figures().swapped, 5 * (pages - limit) / 2);
    EXPECT_GT(tenant.figures().swapped, 0u);
    EXPECT_FALSE(reclaim->figures().stuck);
    reclaim->remove(tenant);
}

// Two machines, with sharing at work as well.
TEST_F(Reclaiming, AgreesWithAModelUnderLoad) {
    FakeTenant first{pool};
    FakeTenant second{pool};
    PageSharing sharing{pool};
    for (FakeTenant* tenant : {&first, &second}) {
        reclaim->add(*tenant);
        sharing.add(*tenant);
    }
    std::atomic<unsigned> wrong{0};
    auto play = [&](FakeTenant& tenant, unsigned seed) {
        std::mt19937 random{seed};
        std::array<std::uint64_t, pages> salt{};
        for (std::uint64_t pfn = 0; pfn < pages; ++pfn) write_page(tenant, pfn, 0);
        for (unsigned n = 0; n < 6000; ++n) {
            std::uint64_t pfn = random() % pages;
            if (random() % 3 == 0)
                write_page(tenant, pfn, salt[pfn] = random() % 2);
            else if (!is_right(tenant, pfn, salt[pfn]))
                ++wrong;
        }
    };
    test::look_while_they_play([&] { sharing.pass(test::at_once); }, [&] { play(first, 1); },
                               [&] { play(second, 2); });
    EXPECT_EQ(wrong, 0u);
    EXPECT_GT(reclaim->figures().swapped, pages);
    EXPECT_GT(sharing.figures().compressed, 0u);
    for (FakeTenant* tenant : {&first, &second}) {
        reclaim->remove(*tenant);
        sharing.remove(*tenant);
    }
}

// They cannot be swapped once they share frames; with more of those than the limit nobody could go on.
TEST_F(Reclaiming, EqualPagesLeaveRoom) {
    constexpr std::uint64_t different = limit * 3 / 2;
    FakeTenant tenant{pool};
    PageSharing sharing{pool};
    sharing.add(tenant);
    auto value = [](std::uint64_t pfn) { return static_cast<std::uint8_t>(pfn / 2 % different + 1); };
    for (std::uint64_t pfn = 0; pfn < pages; ++pfn) tenant.fill(pfn, value(pfn));
    wait_until_said(1);
    for (unsigned n = 0; n < 2; ++n) sharing.pass(test::at_once);
    EXPECT_TRUE(pool->is_over_limit());
    reclaim->add(tenant);
    wait_until_said(2);
    EXPECT_FALSE(pool->is_over_limit());
    EXPECT_GT(sharing.figures().frames, 0u);
    for (std::uint64_t pfn = 0; pfn < pages && !HasFailure(); ++pfn) {
        FakeTenant::Turn executing{tenant};
        EXPECT_EQ(tenant.at(pfn), std::byte{value(pfn)}) << pfn;
    }
    reclaim->remove(tenant);
    sharing.remove(tenant);
}

TEST_F(Reclaiming, ZeroPagesNeedNoFile) {
    FakeTenant tenant{pool};
    reclaim->add(tenant);
    for (std::uint64_t pfn = 0; pfn < pages; ++pfn) {
        FakeTenant::Turn executing{tenant};
        tenant.fill(pfn, 0);
    }
    write_page(tenant, 3, 5);
    EXPECT_TRUE(is_right(tenant, 3, 5));
    EXPECT_GT(reclaim->figures().zeroed, 0u);
    reclaim->remove(tenant);
}

// What it has to give is taken from the one that has it, before the limit is passed; the other one goes on.
TEST_F(Reclaiming, HoldsOnlyWhomItTakesFrom) {
    FakeTenant first{pool};
    FakeTenant second{pool};
    second.guest_memory().clear(1);
    reclaim->add(first);
    reclaim->add(second);
    FakeTenant::Turn executing{second};  // it never stops
    for (std::uint64_t pfn = 0; pfn < pages; ++pfn) {
        write_page(first, pfn, 3);
        while (pool->is_under_pressure()) std::this_thread::yield();
    }
    EXPECT_GT(first.holds, 0u);
    EXPECT_EQ(second.holds, 0u);
    EXPECT_GE(reclaim->figures().swapped, pages - limit);
    for (FakeTenant* tenant : {&first, &second}) reclaim->remove(*tenant);
}

TEST_F(Reclaiming, BalloonsComeBeforeColdPages) {
    FakeTenant large{pool};
    FakeTenant small{pool};
    large.has_balloon = small.has_balloon = true;
    reclaim->add(large);
    reclaim->add(small);
    write_page(small, 0, 1);
    for (std::uint64_t pfn = 0; pfn < limit; ++pfn) {
        write_page(large, pfn, 2);
        while (pool->is_under_pressure()) std::this_thread::yield();
    }
    EXPECT_GT(large.asked, 0u);
    EXPECT_EQ(small.asked, 0u) << "it has less than its part";
    EXPECT_EQ(reclaim->figures().swapped, 0u);
    EXPECT_EQ(large.figures().ballooned, large.asked);
    EXPECT_TRUE(is_right(small, 0, 1));
    EXPECT_TRUE(is_right(large, limit - 1, 2));
    for (FakeTenant* tenant : {&large, &small}) reclaim->remove(*tenant);
}

// What a guest was asked for it may have again when there is room.
TEST_F(Reclaiming, LeavesBalloonsWhenThereIsRoom) {
    FakeTenant tenant{pool};
    tenant.has_balloon = true;
    reclaim->add(tenant);
    for (std::uint64_t pfn = 0; pfn < limit; ++pfn) write_page(tenant, pfn, 2);
    while (tenant.asked == 0) std::this_thread::yield();
    std::vector<std::uint64_t> all;
    for (std::uint64_t pfn = 0; pfn < pages; ++pfn) all.push_back(pfn);
    while (!tenant.hold()) {
    }
    tenant.guest_memory().give_up(all, PageState::Unbacked);
    tenant.release();
    while (tenant.asked != 0) std::this_thread::yield();
    reclaim->remove(tenant);
}

struct LittleSwap : Reclaiming {
    LittleSwap() : Reclaiming{40} {}
};

TEST_F(LittleSwap, FullItHoldsTheMachinesAndLosesNothing) {
    FakeTenant tenant{pool};
    auto other = std::make_unique<FakeTenant>(pool);
    reclaim->add(tenant);
    reclaim->add(*other);
    constexpr std::uint64_t half = limit / 2;
    for (std::uint64_t pfn = 0; pfn < half; ++pfn) write_page(*other, pfn, 1);
    std::atomic<bool> written{false};
    std::thread writer{[&] {
        for (std::uint64_t pfn = 0; pfn < limit; ++pfn) write_page(tenant, pfn, 2);
        written = true;
    }};
    wait_until_said(1);
    EXPECT_NE(said[0].find("No space left on device"), std::string::npos) << said[0];
    EXPECT_TRUE(reclaim->figures().stuck);
    EXPECT_FALSE(written);
    // It ends: there is room, and the others go on.
    reclaim->remove(*other);
    other.reset();
    writer.join();
    wait_until_said(2);
    EXPECT_FALSE(reclaim->figures().stuck);
    for (std::uint64_t pfn = 0; pfn < limit; ++pfn) ASSERT_TRUE(is_right(tenant, pfn, 2)) << pfn;
    reclaim->remove(tenant);
}

// Leaves the floating-point unit as a compiler's code might.
struct CarelessObserver final : WaitObserver {
    void wait_begins() noexcept override {
        ++begun;
        _mm_setcsr(0x9f80);
    }
    void wait_ends() noexcept override {
        ++ended;
        _mm_setcsr(0xbf80);
    }
    unsigned begun = 0;
    unsigned ended = 0;
};

TEST(SwapFile, TellsOfWaitsAndKeepsTheGuestsVectorState) {
    auto made = SwapFile::create(testing::TempDir());
    ASSERT_TRUE(made);
    SwapFile& swap = **made;
    CarelessObserver observer;
    swap.tell_of_waits(observer);
    std::array<std::byte, 4096> page{};
    page.fill(std::byte{7});
    auto slot = swap.write(page.data());
    ASSERT_TRUE(slot);
    std::array<std::byte, 4096> in{};
    constexpr unsigned guests = 0x7f80;
    unsigned own = _mm_getcsr();
    _mm_setcsr(guests);
    swap.read_slowly(*slot, in.data());
    unsigned after = _mm_getcsr();
    _mm_setcsr(own);
    EXPECT_EQ(after, guests);
    EXPECT_EQ(in, page);
    EXPECT_EQ(observer.begun, 1u);
    EXPECT_EQ(observer.ended, 1u);
}

TEST(SwapFile, KeepsPagesInSlots) {
    auto made = SwapFile::create(testing::TempDir(), 3);
    ASSERT_TRUE(made);
    SwapFile& swap = **made;
    std::array<std::array<std::byte, 4096>, 4> page{};
    std::vector<std::uint32_t> slots;
    for (unsigned n = 0; n < 3; ++n) {
        page[n].fill(static_cast<std::byte>(n + 1));
        auto slot = swap.write(page[n].data());
        ASSERT_TRUE(slot);
        slots.push_back(*slot);
    }
    EXPECT_FALSE(swap.write(page[3].data()));
    EXPECT_EQ(swap.failure(), ENOSPC);
    swap.release(slots[1]);
    EXPECT_EQ(swap.in_use(), 2u);
    EXPECT_EQ(swap.write(page[3].data()), slots[1]);
    std::array<std::byte, 4096> in{};
    swap.read(slots[2], in.data());
    EXPECT_EQ(in, page[2]);
    EXPECT_FALSE(SwapFile::create("/nowhere"));
}

}  // namespace
}  // namespace undercroft
