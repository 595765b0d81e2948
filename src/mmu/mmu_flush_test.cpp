// SPDX-License-Identifier: Apache-2.0
// TLB maintenance: what each flush takes and what it leaves, in both levels.

#include "mmu/mmu.hpp"

#include "mmu/test_machine.hpp"

#include <gtest/gtest.h>

#include <tuple>
#include <utility>
#include <vector>

namespace undercroft::test {
namespace {

using enum Access;
constexpr AccessMode User = AccessMode::User, Supervisor = AccessMode::Supervisor;
constexpr std::uint64_t user = 0x00007f1234567000;
constexpr std::uint64_t kernel = 0xffffffff81000000;
constexpr std::uint64_t frame = 5 * MiB;

// A machine with a user page and a global kernel page in both TLBs; then the tables change behind their
// backs.
struct Flush : testing::Test {
    TestMachine machine;

    Flush() {
        machine.map(user, frame, P | US | RW);
        machine.map(kernel, frame + 0x1000, P | RW | G);
        touch();
        machine.map(user, frame + 0x10000, P | US | RW);
        machine.map(kernel, frame + 0x11000, P | RW | G);
    }
    void touch() {
        ASSERT_TRUE(machine.translate(user, Write, User));
        ASSERT_TRUE(machine.translate(kernel, Write, Supervisor));
    }
    bool stale(std::uint64_t address, AccessMode mode) {
        bool in_tlb = machine.probe(address, 1, Read, mode) != nullptr;
        EXPECT_TRUE(machine.translate(address, Read, mode));
        bool old = machine.out.physical.value() < frame + 0x10000;
        EXPECT_TRUE(old || !in_tlb) << "the software TLB is filled again only by translate()";
        return old;
    }
};

TEST_F(Flush, NothingKeepsBoth) {
    EXPECT_TRUE(stale(user, User));
    EXPECT_TRUE(stale(kernel, Supervisor));
}

TEST_F(Flush, NonGlobalKeepsGlobalPages) {
    machine.mmu.flush_non_global();
    EXPECT_EQ(machine.probe(user, 1, Read, User), nullptr);
    EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
    EXPECT_NE(machine.probe(kernel, 1, Write, Supervisor), nullptr);
    EXPECT_FALSE(stale(user, User));
    EXPECT_TRUE(stale(kernel, Supervisor));
}

TEST_F(Flush, GlobalNeedsPge) {
    machine.state.cr4 &= ~CR4::PGE;
    machine.mmu.flush_all();
    touch();
    machine.map(user, frame, P | US | RW);
    machine.map(kernel, frame, P | RW | G);
    machine.mmu.flush_non_global();
    EXPECT_TRUE(stale(user, User)) << "which here means: the new mapping";
    EXPECT_TRUE(stale(kernel, Supervisor));
}

TEST_F(Flush, AllTakesBoth) {
    machine.mmu.flush_all();
    EXPECT_EQ(machine.probe(kernel, 1, Read, Supervisor), nullptr);
    EXPECT_FALSE(stale(user, User));
    EXPECT_FALSE(stale(kernel, Supervisor));
}

TEST_F(Flush, PageTakesOnePageInAllModes) {
    ASSERT_TRUE(machine.translate(user, Read, AccessMode::SupervisorAc));
    machine.mmu.flush_page(GuestVirtual{user + 0xabc});
    EXPECT_EQ(machine.probe(user, 1, Read, AccessMode::SupervisorAc), nullptr);
    EXPECT_FALSE(stale(user, User));
    EXPECT_TRUE(stale(kernel, Supervisor));
    machine.mmu.flush_page(GuestVirtual{kernel});
    EXPECT_FALSE(stale(kernel, Supervisor));
}

TEST_F(Flush, SecondLevelSurvivesEviction) {
    std::uint64_t other = user + (std::uint64_t{Tlb::entry_count} << 12);  // same slot of the software TLB
    machine.map(other, frame, P | US | RW);
    ASSERT_TRUE(machine.translate(other, Read, User));
    EXPECT_EQ(machine.probe(user, 1, Read, User), nullptr);
    EXPECT_TRUE(stale(user, User));
    // A flush takes it there, too.
    ASSERT_TRUE(machine.translate(other, Read, User));
    machine.mmu.flush_page(GuestVirtual{user});
    EXPECT_FALSE(stale(user, User));
    EXPECT_NE(machine.probe(user, 1, Read, User), nullptr);
}

// A slot that changes from global to not, and back.
TEST_F(Flush, KnowsWhatASlotHoldsNow) {
    std::uint64_t other = kernel + (std::uint64_t{Tlb::entry_count} << 12);
    machine.map(other, frame, P | RW);
    ASSERT_TRUE(machine.translate(other, Read, Supervisor));
    machine.mmu.flush_non_global();
    EXPECT_EQ(machine.probe(other, 1, Read, Supervisor), nullptr);
    ASSERT_TRUE(machine.translate(other, Read, Supervisor));
    ASSERT_TRUE(machine.translate(kernel, Read, Supervisor));
    machine.mmu.flush_non_global();
    EXPECT_NE(machine.probe(kernel, 1, Read, Supervisor), nullptr);
}

// --- large pages ------------------------------------------------------------------------------------------

struct Sizes : testing::TestWithParam<unsigned> {};

TEST_P(Sizes, FlushPageTakesTheWholeLargePage) {
    unsigned level = GetParam();
    std::uint64_t size = 1ull << (12 + 9 * level);
    std::uint64_t base = 0xffff888000000000;
    TestMachine machine;
    machine.map(base, 0, P | RW | G, level);
    machine.map(base - 4096, frame, P | RW | G);
    const std::uint64_t offsets[] = {0, 0x1000, 0x155000, 2 * MiB - 4096, size / 2, size - 4096};
    for (std::uint64_t offset : offsets) {
        ASSERT_TRUE(machine.translate(base + offset, Read, Supervisor));
        ASSERT_TRUE(machine.translate(base + offset, Read, AccessMode::SupervisorAc));
    }
    ASSERT_TRUE(machine.translate(base - 4096, Read, Supervisor));
    machine.entry(base, level) = 0;
    machine.mmu.flush_page(GuestVirtual{base + 0x155123});
    EXPECT_NE(machine.probe(base - 4096, 1, Read, Supervisor), nullptr) << "the neighbour stays";
    for (std::uint64_t offset : offsets) {
        for (AccessMode mode : {Supervisor, AccessMode::SupervisorAc}) {
            EXPECT_EQ(machine.probe(base + offset, 1, Read, mode), nullptr);
            EXPECT_FALSE(machine.translate(base + offset, Read, mode)) << std::hex << offset;
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Mmu, Sizes, testing::Values(1u, 2u));

struct Observer final : FlushObserver {
    void flushed_all() noexcept override { all++; }
    void flushed_non_global() noexcept override { non_global++; }
    void flushed_range(GuestVirtual start, std::uint64_t length) noexcept override {
        ranges.emplace_back(start.value(), length);
    }
    void switched_address_space(unsigned from, unsigned to, OldEntries of_to) noexcept override {
        switches.emplace_back(from, to, of_to == OldEntries::Keep);
    }
    void flushed_address_space(unsigned pcid) noexcept override { spaces.push_back(pcid); }
    void frames_forgotten() noexcept override {}
    int all = 0;
    int non_global = 0;
    std::vector<std::tuple<unsigned, unsigned, bool>> switches;
    std::vector<unsigned> spaces;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
};

TEST(Mmu, TellsTheObserverOfFlushes) {
    TestMachine machine;
    Observer observer;
    machine.mmu.add_flush_observer(observer);
    machine.map(4 * MiB, 0, P, 1);
    ASSERT_TRUE(machine.translate(4 * MiB + 0x3000, Read, Supervisor));
    machine.mmu.flush_page(GuestVirtual{user + 0x123});
    machine.mmu.flush_page(GuestVirtual{4 * MiB + 0x5123});
    machine.mmu.flush_page(GuestVirtual{4 * MiB + 0x5123});
    machine.mmu.flush_non_global();
    machine.mmu.flush_all();
    EXPECT_EQ(observer.ranges, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                                   {user, 4096}, {4 * MiB, 2 * MiB}, {4 * MiB + 0x5000, 4096}}));
    EXPECT_EQ(observer.non_global, 1);
    EXPECT_EQ(observer.all, 1);
    machine.mmu.switch_address_space(3, OldEntries::Drop);
    machine.mmu.switch_address_space(3, OldEntries::Keep);
    machine.mmu.switch_address_space(4, OldEntries::Keep);
    machine.mmu.flush_address_space(4);
    machine.mmu.flush_address_space(3);
    machine.mmu.flush_page_of(3, GuestVirtual{user});
    EXPECT_EQ(observer.switches, (std::vector<std::tuple<unsigned, unsigned, bool>>{
                                     {0, 3, false}, {3, 4, true}, {4, 4, false}}));
    EXPECT_EQ(observer.spaces, (std::vector<unsigned>{3, 3}));
    EXPECT_EQ(observer.ranges.back(), std::make_pair(user, std::uint64_t{4096}));
}

TEST(LargePages, RemembersRegions) {
    using Size = LargePages::Size;
    LargePages pages;
    EXPECT_FALSE(pages.may_hold(4 * MiB, Size::Of2M));
    pages.note(4 * MiB + 0x1000, Size::Of2M);
    EXPECT_TRUE(pages.may_hold(6 * MiB - 1, Size::Of2M));
    EXPECT_FALSE(pages.may_hold(6 * MiB, Size::Of2M));
    EXPECT_FALSE(pages.may_hold(4 * MiB, Size::Of1G));
    pages.forget(5 * MiB, Size::Of2M);
    EXPECT_FALSE(pages.may_hold(4 * MiB, Size::Of2M));
    // More regions than buckets: nothing is ever missed.
    for (std::uint64_t region = 0; region < 5000; region++) pages.note(region * 2 * MiB, Size::Of2M);
    for (std::uint64_t region = 0; region < 5000; region++) {
        ASSERT_TRUE(pages.may_hold(region * 2 * MiB, Size::Of2M));
        if (region % 3 == 0) pages.forget(region * 2 * MiB, Size::Of2M);
    }
    for (std::uint64_t region = 1; region < 5000; region += 3)
        ASSERT_TRUE(pages.may_hold(region * 2 * MiB, Size::Of2M));
    pages.forget_all();
    EXPECT_FALSE(pages.may_hold(10 * MiB, Size::Of2M));
}

// --- address spaces ---------------------------------------------------------------------------------------

struct AddressSpaces : testing::Test {
    static constexpr auto Keep = OldEntries::Keep;
    static constexpr auto Drop = OldEntries::Drop;
    TestMachine machine;

    AddressSpaces() { machine.state.cr4 |= CR4::PCIDE; }
    void go(unsigned pcid, OldEntries old) {
        machine.state.cr3 = TestMachine::first_table | pcid;
        machine.mmu.switch_address_space(pcid, old);
    }
    // Maps the page elsewhere and says what the TLBs still think.
    std::uint64_t seen() {
        EXPECT_TRUE(machine.translate(user, Read, User));
        return machine.out.physical.value();
    }
    void map(std::uint64_t physical) { machine.map(user, physical, P | US); }
};

TEST_F(AddressSpaces, EachHasItsOwnEntries) {
    map(frame);
    go(1, Drop);
    EXPECT_EQ(seen(), frame);
    map(frame + 0x1000);
    go(2, Keep);
    EXPECT_EQ(seen(), frame + 0x1000);
    map(frame + 0x2000);
    go(1, Keep);
    EXPECT_NE(machine.probe(user, 1, Read, User), nullptr) << "is back in the software TLB";
    EXPECT_EQ(seen(), frame) << "its own old entry";
    go(2, Drop);
    EXPECT_EQ(seen(), frame + 0x2000);
}

TEST_F(AddressSpaces, KeepKeeps) {
    map(frame);
    go(1, Drop);
    seen();
    go(2, Keep);
    map(frame + 0x1000);
    go(1, Keep);
    EXPECT_EQ(seen(), frame);
    EXPECT_EQ(machine.mmu.statistics().walks, 1u);
}

TEST_F(AddressSpaces, FlushesReachTheOthers) {
    auto stale_after = [this](auto flush) {
        map(frame);
        go(1, Drop);
        seen();
        go(2, Keep);
        map(frame + 0x1000);
        flush();
        go(1, Keep);
        return seen() == frame;
    };
    EXPECT_TRUE(stale_after([] {}));
    EXPECT_TRUE(stale_after([this] { machine.mmu.flush_address_space(2); }));
    EXPECT_FALSE(stale_after([this] { machine.mmu.flush_address_space(1); }));
    EXPECT_FALSE(stale_after([this] { machine.mmu.flush_non_global(); }));
    EXPECT_FALSE(stale_after([this] { machine.mmu.flush_all(); }));
    EXPECT_FALSE(stale_after([this] { machine.mmu.flush_page_of(1, GuestVirtual{user}); }));
    EXPECT_TRUE(stale_after([this] { machine.mmu.flush_page_of(3, GuestVirtual{user}); }));
    EXPECT_TRUE(stale_after([this] { machine.mmu.flush_page(GuestVirtual{user}); }))
        << "INVLPG is not for it";
    EXPECT_FALSE(stale_after([this] { machine.mmu.begin_software_tlb(); }));
    EXPECT_FALSE(stale_after([this] {
        go(1, Drop);
        go(2, Keep);
    }));
}

// More address spaces than there are lists of what the software TLB held: those have the second level.
TEST_F(AddressSpaces, AsManyAsThereAre) {
    for (unsigned pcid = 0; pcid < SecondLevelTlb::address_space_count; pcid++) {
        go(pcid, Drop);
        map(frame + (pcid % 7 << 12));
        EXPECT_EQ(seen(), frame + (pcid % 7 << 12));
        if (pcid < 3) continue;
        go(pcid - 3, Keep);
        std::uint64_t there = seen();
        EXPECT_TRUE(there == frame + ((pcid - 3) % 7 << 12) || there == frame + (pcid % 7 << 12)) << pcid;
    }
}

// What takes a page away takes it from every address space.
TEST_F(AddressSpaces, KeptEntriesLoseTheirPages) {
    auto writable_after = [this](auto act) {
        machine.map(user, frame, P | US | RW);
        go(1, Drop);
        EXPECT_TRUE(machine.translate(user, Write, User));
        EXPECT_NE(machine.probe(user, 1, Write, User), nullptr);
        go(2, Drop);
        EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
        act();
        go(1, Keep);
        return machine.probe(user, 1, Write, User) != nullptr;
    };
    EXPECT_TRUE(writable_after([] {}));
    EXPECT_FALSE(writable_after([this] { machine.mmu.page_became_code(frame >> 12); }));
    EXPECT_NE(machine.probe(user, 1, Read, User), nullptr) << "only writes";
    EXPECT_FALSE(machine.mmu.may_grant_write(frame >> 12));
    EXPECT_TRUE(writable_after([this] { machine.mmu.page_became_code((frame >> 12) + 1); }));
    EXPECT_FALSE(writable_after([this] { machine.mmu.forget_granted_writes(); }));
    EXPECT_FALSE(writable_after([this] { machine.mmu.forget_frames(); }));
    EXPECT_EQ(machine.probe(user, 1, Read, User), nullptr);
    EXPECT_TRUE(machine.mmu.may_grant_write(frame >> 12));
}

// INVLPG of any piece takes a large page, and that it may be one, from all address spaces.
TEST_F(AddressSpaces, LargePagesGoInAll) {
    constexpr std::uint64_t base = 0x00007f0000200000;
    machine.map(base, 4 * MiB, P | US | RW, 1);
    go(1, Drop);
    ASSERT_TRUE(machine.translate(base + 0x3000, Write, User));
    go(2, Drop);
    ASSERT_TRUE(machine.translate(base + 0x7000, Write, User));
    machine.mmu.flush_page(GuestVirtual{base});
    go(1, Keep);
    machine.entry(base, 1) = 0;
    machine.mmu.flush_page(GuestVirtual{base + 0x1000});
    EXPECT_FALSE(machine.translate(base + 0x3000, Read, User));
}

TEST_F(AddressSpaces, GlobalPagesAreInAll) {
    machine.map(kernel, frame, P | G);
    go(1, Drop);
    ASSERT_TRUE(machine.translate(kernel, Read, Supervisor));
    machine.map(kernel, frame + 0x1000, P | G);
    go(2, Drop);
    ASSERT_TRUE(machine.translate(kernel, Read, Supervisor));
    EXPECT_EQ(machine.out.physical.value(), frame);
    EXPECT_TRUE(machine.out.global);
}

// PCIDE off and on again: number 0 is the current one, whatever was selected before.
TEST_F(AddressSpaces, BeginAgainAtZero) {
    go(5, Drop);
    machine.state.cr3 = TestMachine::first_table;
    machine.state.cr4 &= ~CR4::PCIDE;
    machine.mmu.flush_all();
    map(frame);
    seen();
    machine.state.cr4 |= CR4::PCIDE;
    map(frame + 0x1000);
    go(5, Keep);
    EXPECT_EQ(seen(), frame + 0x1000);
}

}  // namespace
}  // namespace undercroft::test
