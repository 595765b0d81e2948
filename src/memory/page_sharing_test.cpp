// SPDX-License-Identifier: Apache-2.0
#include "memory/page_sharing.hpp"
#include "memory/compressed_store.hpp"
#include "memory/fake_tenant.hpp"
#include "memory/swap_file.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace undercroft {
namespace {

using test::FakeTenant;
using test::pages;

struct Sharing : testing::Test {
    // Contents have to last from one pass to the next.
    std::uint64_t two_passes() { return sharing.pass(test::at_once) + sharing.pass(test::at_once); }

    std::shared_ptr<FramePool> pool = *FramePool::create();
    FakeTenant first{pool};
    FakeTenant second{pool};
    PageSharing sharing{pool};

    Sharing() {
        sharing.add(first);
        sharing.add(second);
    }
    ~Sharing() override {
        sharing.remove(first);
        sharing.remove(second);
    }
};

TEST_F(Sharing, WithinAndAcrossMachines) {
    for (std::uint64_t pfn : {1u, 2u, 3u}) first.fill(pfn, 7);
    for (std::uint64_t pfn : {5u, 6u}) second.fill(pfn, 7);
    second.fill(9, 8);
    std::uint64_t before = pool->in_use();
    EXPECT_EQ(two_passes(), 4u);
    EXPECT_EQ(pool->in_use(), before - 4);
    EXPECT_EQ(first.figures().shared, 3u);
    EXPECT_EQ(second.figures().shared, 2u);
    EXPECT_EQ(second.figures().own, 1u);
    EXPECT_EQ(first.guest_memory().readable(GuestPhysical{0x1000}),
              second.guest_memory().readable(GuestPhysical{0x6000}));
    EXPECT_EQ(sharing.figures().frames, 1u);
    EXPECT_EQ(sharing.figures().shared, 4u);
    EXPECT_EQ(first.at(3), std::byte{7});
    EXPECT_EQ(second.at(9), std::byte{8});
}

TEST_F(Sharing, NotIfTheyAreToBeKeptApart) {
    PageSharing apart{pool, EqualPages::KeepApart};
    apart.add(first);
    for (std::uint64_t pfn : {1u, 2u}) first.fill(pfn, 7);
    first.fill(3, 0);
    EXPECT_EQ(apart.pass(test::at_once) + apart.pass(test::at_once), 1u);
    EXPECT_EQ(first.figures().own, 2u);
    EXPECT_EQ(first.figures().zero, 1u);
    for (unsigned n = 0; n < PageHistory::cold_age; ++n) apart.pass(test::at_once);
    EXPECT_EQ(first.figures().compressed, 2u);
    apart.remove(first);
}

TEST_F(Sharing, WritersGetFramesOfTheirOwn) {
    first.fill(1, 7);
    second.fill(5, 7);
    two_passes();
    std::byte* page = first.guest_memory().writable(GuestPhysical{0x1000});
    EXPECT_EQ(page[4095], std::byte{7});
    page[100] = std::byte{1};
    EXPECT_EQ(first.at(1), std::byte{1});
    EXPECT_EQ(first.at(1, 101), std::byte{7});
    EXPECT_EQ(second.at(5), std::byte{7});
    // The frame is free when the last one has left it.
    second.fill(5, 9);
    std::uint64_t before = pool->in_use();
    two_passes();
    EXPECT_EQ(pool->in_use(), before - 1);
    EXPECT_EQ(sharing.figures().frames, 0u);
}

TEST_F(Sharing, ChangedPagesAreNotFromTheDiskAnyMore) {
    DiskOrigins& origins = first.guest_memory().disk_origins();
    for (std::uint64_t pfn : {1u, 2u, 3u, 4u}) {
        first.fill(pfn, pfn < 4 ? 7 : 9);
        origins.note(pfn, first.guest_memory().own_page(pfn));
    }
    origins.note(4, first.guest_memory().own_page(4));
    EXPECT_EQ(origins.pages(), 4u);
    EXPECT_EQ(two_passes(), 2u);
    EXPECT_EQ(origins.pages(), 4u) << "also those that are shared now";
    first.fill(2, 8);
    sharing.pass(test::at_once);
    EXPECT_EQ(origins.pages(), 3u);
    std::array<std::uint64_t, 1> page{4};
    first.guest_memory().give_up(page, PageState::Unbacked);
    sharing.pass(test::at_once);
    EXPECT_EQ(origins.pages(), 2u);
}

TEST_F(Sharing, ZeroPagesGiveTheirFramesBack) {
    first.fill(1, 0);
    first.fill(2, 0);
    first.guest_memory().writable(GuestPhysical{0x3ff8})[7] = std::byte{1};
    EXPECT_EQ(sharing.pass(test::at_once), 2u);
    MemoryFigures figures = first.figures();
    EXPECT_EQ(figures.zero, 2u);
    EXPECT_EQ(figures.own, 1u);
    EXPECT_EQ(first.guest_memory().readable(GuestPhysical{0x1000}), pool->zero_page());
    first.fill(1, 5);
    EXPECT_EQ(first.at(1), std::byte{5});
    EXPECT_EQ(first.at(2), std::byte{0});
}

// A page that looks like no other of the test.
void write_table(FakeTenant& tenant, std::uint64_t pfn) {
    tenant.fill(pfn, 0);
    auto* words = reinterpret_cast<std::uint64_t*>(tenant.guest_memory().writable(GuestPhysical{pfn << 12}));
    for (std::uint64_t n = 0; n < 512; n += 3) words[n] = pfn << 20 | n << 4;
}

TEST_F(Sharing, ColdPagesTakeLessThanAFrame) {
    for (std::uint64_t pfn = 1; pfn <= 64; ++pfn) write_table(first, pfn);
    std::vector<std::byte> before(64 << 12);
    first.guest_memory().read(GuestPhysical{1 << 12}, before);
    std::uint64_t frames = pool->in_use();
    // One pass notes them, one empties the TLBs for the first time.
    for (unsigned n = 0; n < PageHistory::cold_age + 1; ++n) EXPECT_EQ(sharing.pass(test::at_once), 0u);
    EXPECT_EQ(sharing.pass(test::at_once), 64u);
    EXPECT_EQ(first.figures().compressed, 64u);
    EXPECT_EQ(first.figures().own, 0u);
    EXPECT_LE(pool->in_use(), frames - 64 / 2);
    EXPECT_EQ(sharing.figures().compressed, 64u);
    unsigned holds = first.holds;
    EXPECT_EQ(sharing.pass(test::at_once), 0u);
    EXPECT_EQ(first.holds, holds) << "there is nothing to stop it for";
    // Reading brings one back, and so does writing.
    std::vector<std::byte> after(64 << 12);
    first.guest_memory().read(GuestPhysical{1 << 12}, after);
    EXPECT_EQ(after, before);
    EXPECT_EQ(first.figures().own, 64u);
    EXPECT_EQ(pool->compressed().frames(), 0u);
}

TEST_F(Sharing, UsedPagesStayAsTheyAre) {
    for (std::uint64_t pfn : {1u, 2u, 3u}) write_table(first, pfn);
    for (unsigned n = 0; n < 10; ++n) {
        // A TLB that is emptied whenever the machine is held is filled again.
        EXPECT_NE(first.guest_memory().page_to_keep(1), nullptr);
        if (n % 3 == 0) first.guest_memory().page_to_keep(2);
        sharing.pass(test::at_once);
    }
    EXPECT_EQ(first.figures().compressed, 1u);
    EXPECT_EQ(first.figures().own, 2u);
}

TEST_F(Sharing, WithoutEmptyTlbsNothingIsCold) {
    write_table(first, 1);
    first.may_hold = false;
    for (unsigned n = 0; n < 10; ++n) sharing.pass(test::at_once);
    first.may_hold = true;
    for (unsigned n = 0; n < PageHistory::cold_age; ++n) EXPECT_EQ(sharing.pass(test::at_once), 0u);
    EXPECT_EQ(sharing.pass(test::at_once), 1u);
}

TEST_F(Sharing, LeavesChangingPagesAlone) {
    std::uint64_t given_up = 0;
    for (std::uint8_t round = 1; round < 6; ++round) {
        first.fill(1, round);
        second.fill(1, round);
        given_up += sharing.pass(test::at_once);
    }
    EXPECT_EQ(given_up, 0u);
    EXPECT_EQ(first.holds, 0u);
}

TEST_F(Sharing, ComparesWhatItHashed) {
    first.fill(1, 7);
    second.fill(1, 7);
    second.fill(2, 7);
    sharing.pass(test::at_once);
    std::uint64_t seen = 0;
    // Behind the back of the pass, when all of it is hashed.
    sharing.pass([&](std::uint64_t now) {
        seen += now;
        if (seen == 3) second.guest_memory().writable(GuestPhysical{0x1000})[4095] = std::byte{1};
        return true;
    });
    EXPECT_EQ(second.at(1, 4095), std::byte{1});
    EXPECT_EQ(second.figures().own, 1u);
    EXPECT_EQ(second.figures().shared, 1u);
}

TEST_F(Sharing, TakesNothingFromAMachineThatCannotStop) {
    first.fill(1, 7);
    first.fill(2, 7);
    first.may_hold = false;
    EXPECT_EQ(two_passes(), 0u);
    EXPECT_EQ(first.figures().own, 2u);
    first.may_hold = true;
    EXPECT_EQ(two_passes(), 1u);
}

TEST_F(Sharing, MachinesMayGoMeanwhile) {
    for (std::uint64_t pfn = 0; pfn < pages; ++pfn) first.fill(pfn, 7);
    auto third = std::make_unique<FakeTenant>(pool);
    for (std::uint64_t pfn = 0; pfn < pages; ++pfn) third->fill(pfn, 7);
    sharing.add(*third);
    two_passes();
    EXPECT_EQ(third->figures().shared, pages);
    sharing.pass([&](std::uint64_t) {
        if (third) sharing.remove(*third);
        third.reset();
        return true;
    });
    EXPECT_EQ(first.figures().shared, pages);
    EXPECT_EQ(first.at(17), std::byte{7});
}

// Shared frames cannot be swapped, and a guest may fill its memory with pages that are equal in pairs.
TEST(SharingUnderALimit, TakesAtMostHalfOfTheFrames) {
    constexpr std::uint64_t limit = pages / 4;
    auto pool = *FramePool::create();
    pool->set_limit(limit, nullptr);
    FakeTenant tenant{pool};
    PageSharing sharing{pool};
    sharing.add(tenant);
    auto value = [](std::uint64_t pfn) { return static_cast<std::byte>(pfn / 2 + 1); };
    for (std::uint64_t pfn = 0; pfn < 2 * limit; ++pfn)
        tenant.fill(pfn, std::to_integer<std::uint8_t>(value(pfn)));
    for (unsigned n = 0; n < 2; ++n) sharing.pass(test::at_once);
    EXPECT_EQ(sharing.figures().frames, limit / 2);
    EXPECT_EQ(tenant.figures().shared, limit);
    // The others become cold like pages that are like no other.
    for (unsigned n = 0; n < PageHistory::cold_age + 2; ++n) sharing.pass(test::at_once);
    EXPECT_EQ(tenant.figures().shared, limit);
    EXPECT_EQ(tenant.figures().compressed, limit);
    for (std::uint64_t pfn = 0; pfn < 2 * limit; ++pfn) EXPECT_EQ(tenant.at(pfn), value(pfn)) << pfn;
    sharing.remove(tenant);
}

TEST_F(Sharing, PassesEndWhenTold) {
    first.fill(1, 7);
    EXPECT_EQ(sharing.pass([](std::uint64_t) { return false; }), 0u);
    EXPECT_EQ(sharing.figures().passes, 0u);
}

// Machines that write, clear and read while pages are taken from them: each byte is always what was written
// last, and frames neither leak nor are used twice.
TEST_F(Sharing, AgreesWithAModelUnderLoad) {
    std::atomic<unsigned> wrong{0};
    auto play = [&](FakeTenant& tenant, unsigned seed) {
        std::mt19937 random{seed};
        std::array<std::uint8_t, pages> model{};
        for (unsigned n = 0; n < 60000; ++n) {
            FakeTenant::Turn executing{tenant};
            std::uint64_t pfn = random() % pages;
            auto value = static_cast<std::uint8_t>(random() % 4);
            switch (random() % 8) {
                case 0:
                    tenant.fill(pfn, value);
                    model[pfn] = value;
                    break;
                case 1:
                    if (!tenant.guest_memory().clear(pfn)) tenant.fill(pfn, 0);
                    model[pfn] = 0;
                    break;
                default:
                    if (tenant.at(pfn, random() % 4096) != std::byte{model[pfn]}) ++wrong;
            }
        }
        for (std::uint64_t pfn = 0; pfn < pages; ++pfn) {
            FakeTenant::Turn executing{tenant};
            for (unsigned offset = 0; offset < 4096; ++offset)
                if (tenant.at(pfn, offset) != std::byte{model[pfn]}) ++wrong;
        }
    };
    test::look_while_they_play(
        [&] {
            sharing.pass(test::at_once);
            pool->trim(64, 256);
        },
        [&] { play(first, 1); }, [&] { play(second, 2); });
    EXPECT_EQ(wrong, 0u);
    // On a busy host there may have been no time to find any while they played.
    for (std::uint64_t pfn = 0; pfn < pages; ++pfn)
        for (FakeTenant* tenant : {&first, &second}) tenant->fill(pfn, pfn % 2 == 0 ? 0 : 7);
    for (int n = 0; n < 3; ++n) sharing.pass(test::at_once);
    EXPECT_GT(sharing.figures().shared, 0u);
    EXPECT_GT(sharing.figures().zeroed, 0u);
    for (std::uint64_t pfn = 0; pfn < pages; ++pfn) {
        first.fill(pfn, 5);
        second.fill(pfn, 6);
    }
    sharing.pass(test::at_once);
    EXPECT_EQ(sharing.figures().frames, 0u);
    EXPECT_LE(pool->in_use(), 2 * (pages + FrameBatch::most));
}

}  // namespace
}  // namespace undercroft
