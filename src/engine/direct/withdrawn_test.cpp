// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/withdrawn.hpp"

#include "engine/step/testing.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace undercroft::direct {
namespace {

constexpr std::uint64_t address = test::StepMachine::data;

struct WithdrawnTest : testing::Test {
    WithdrawnTest() { withdrawn->begin(0); }

    void use_pcids() {
        machine.vcpu.paging.cr4 |= CR4::PCIDE;
        mmu.flush_all();
        withdrawn->begin(0);
    }
    // As MOV to CR3.
    void switch_to(unsigned pcid, OldEntries old) {
        machine.vcpu.paging.cr3 = test::StepMachine::tables | pcid;
        mmu.switch_address_space(pcid, old);
    }
    std::vector<std::uint64_t> ranges() const {
        std::vector<std::uint64_t> starts;
        withdrawn->for_each_range([&](std::uint64_t start, std::uint64_t length) {
            EXPECT_EQ(length % page_size, 0u);
            starts.push_back(start);
        });
        return starts;
    }
    std::vector<std::uint64_t> pages() const {
        std::vector<std::uint64_t> all;
        withdrawn->for_each_page([&](std::uint64_t pfn) { all.push_back(pfn); });
        return all;
    }
    bool is_nothing() const { return !withdrawn->is_all() && ranges().empty() && pages().empty(); }

    test::StepMachine machine;
    Mmu& mmu = *machine.mmu;
    std::optional<Withdrawn> withdrawn{machine.vcpu};
};

TEST_F(WithdrawnTest, AllBeforeItBeginsAndNothingBehindThat) {
    EXPECT_TRUE(Withdrawn{machine.vcpu}.is_all());
    EXPECT_TRUE(is_nothing());
}

TEST_F(WithdrawnTest, EveryFlushOfEverything) {
    mmu.flush_all();
    EXPECT_TRUE(withdrawn->is_all());
    withdrawn->clear();
    EXPECT_TRUE(is_nothing());
    mmu.flush_non_global();
    EXPECT_TRUE(withdrawn->is_all());
    withdrawn->clear();
    mmu.forget_frames();
    EXPECT_TRUE(withdrawn->is_all());
    withdrawn->clear();
    withdrawn->forget_granted_writes();
    EXPECT_TRUE(withdrawn->is_all());
}

TEST_F(WithdrawnTest, PagesThatAreFlushed) {
    mmu.flush_page(GuestVirtual{address + 5});
    mmu.flush_page(GuestVirtual{address + 3 * page_size});
    EXPECT_EQ(ranges(), (std::vector<std::uint64_t>{address, address + 3 * page_size}));
    EXPECT_FALSE(withdrawn->is_all());
    withdrawn->clear();
    EXPECT_TRUE(is_nothing());
}

TEST_F(WithdrawnTest, ALargePageIsARange) {
    constexpr std::uint64_t large = 2 << 20;
    std::uint64_t length_seen = 0;
    withdrawn->flushed_range(GuestVirtual{4 * large}, large);
    withdrawn->for_each_range([&](std::uint64_t start, std::uint64_t length) {
        EXPECT_EQ(start, 4 * large);
        length_seen += length;
    });
    EXPECT_EQ(length_seen, large);
}

TEST_F(WithdrawnTest, MorePagesThanItHasRoomForAreAll) {
    for (unsigned n = 0; n < 64; ++n) mmu.flush_page(GuestVirtual{address + n * page_size});
    EXPECT_FALSE(withdrawn->is_all());
    EXPECT_EQ(ranges().size(), 64u);
    mmu.flush_page(GuestVirtual{address + 64 * page_size});
    EXPECT_TRUE(withdrawn->is_all());
}

TEST_F(WithdrawnTest, OtherAddressSpacesComeAndGo) {
    use_pcids();
    switch_to(1, OldEntries::Keep);
    mmu.flush_page(GuestVirtual{address});
    EXPECT_TRUE(ranges().empty()) << "that one's page";
    switch_to(2, OldEntries::Drop);
    mmu.flush_address_space(1);
    mmu.flush_page_of(1, GuestVirtual{address});
    switch_to(0, OldEntries::Keep);
    EXPECT_TRUE(is_nothing());
    mmu.flush_page(GuestVirtual{address});
    EXPECT_EQ(ranges(), std::vector<std::uint64_t>{address});
}

// A large page goes in every address space.
TEST_F(WithdrawnTest, ALargePageOfAnotherAddressSpace) {
    use_pcids();
    switch_to(1, OldEntries::Keep);
    withdrawn->flushed_range(GuestVirtual{0x400000}, 2 << 20);
    EXPECT_EQ(ranges(), std::vector<std::uint64_t>{0x400000});
}

TEST_F(WithdrawnTest, TheAddressSpaceIsFlushedFromAnother) {
    use_pcids();
    switch_to(1, OldEntries::Keep);
    mmu.flush_address_space(0);
    EXPECT_TRUE(withdrawn->is_all());
    withdrawn->begin(0);
    mmu.flush_page_of(0, GuestVirtual{address});
    EXPECT_TRUE(withdrawn->is_all());
    withdrawn->begin(0);
    switch_to(0, OldEntries::Drop);
    EXPECT_TRUE(withdrawn->is_all());
    withdrawn->begin(0);
    switch_to(0, OldEntries::Drop);  // to the one that it is in
    EXPECT_TRUE(withdrawn->is_all());
    withdrawn->begin(0);
    switch_to(1, OldEntries::Keep);
    mmu.flush_non_global();
    EXPECT_TRUE(withdrawn->is_all());
}

TEST_F(WithdrawnTest, PagesThatBecomeCode) {
    machine.code_pages.mark(GuestPhysical{address}, 16);
    EXPECT_EQ(pages(), std::vector<std::uint64_t>{address >> 12});
    machine.code_pages.mark(GuestPhysical{address + 64}, 16);
    EXPECT_EQ(pages().size(), 1u) << "it was code already";
    for (unsigned n = 1; n <= 64; ++n) machine.code_pages.mark(GuestPhysical{address + n * page_size}, 1);
    EXPECT_TRUE(withdrawn->is_all());
}

TEST_F(WithdrawnTest, IsNotToldAnyMoreWhenItIsGone) {
    withdrawn.reset();
    mmu.flush_all();
    machine.code_pages.mark(GuestPhysical{address}, 16);
}

}  // namespace
}  // namespace undercroft::direct
