// SPDX-License-Identifier: Apache-2.0
#include "mmu/second_level_tlb.hpp"

#include <gtest/gtest.h>

namespace undercroft {
namespace {

constexpr std::uint64_t page = 0x00007f1234567000;
// Its set mates: what changes in the lower 13 bits of the number is undone by the next 13 that are folded in.
constexpr std::uint64_t set_mate(std::uint64_t n) {
    constexpr unsigned bits = SecondLevelTlb::set_bits;
    return page ^ (n << bits << 12) ^ (n << 12);
}

std::uint64_t pfn_of(const SecondLevelTlb& tlb, std::uint64_t at) {
    const SecondLevelEntry* entry = tlb.find(at);
    return entry ? entry->pfn() : 0;
}

TEST(SecondLevelTlb, KeepsTheTwoNewestOfASet) {
    SecondLevelTlb tlb;
    EXPECT_EQ(tlb.find(0), nullptr);
    for (std::uint64_t n = 0; n < 3; n++) tlb.insert(set_mate(n), 10 + n, 0, nullptr);
    EXPECT_EQ(pfn_of(tlb, set_mate(0)), 0u);
    EXPECT_EQ(pfn_of(tlb, set_mate(1)), 11u);
    EXPECT_EQ(pfn_of(tlb, set_mate(2)), 12u);
}

TEST(SecondLevelTlb, ReplacesAPageInPlace) {
    SecondLevelTlb tlb;
    tlb.insert(set_mate(0), 10, 0, nullptr);
    tlb.insert(set_mate(1), 11, 0, nullptr);
    tlb.insert(set_mate(1), 21, 0, nullptr);
    EXPECT_EQ(pfn_of(tlb, set_mate(0)), 10u);
    EXPECT_EQ(pfn_of(tlb, set_mate(1)), 21u);
    tlb.insert(set_mate(0), 20, 0, nullptr);
    EXPECT_EQ(pfn_of(tlb, set_mate(0)), 20u);
    EXPECT_EQ(pfn_of(tlb, set_mate(1)), 21u);
}

// The first place is free and the page is in the second: the old entry must not come to light again.
TEST(SecondLevelTlb, HoldsAPageOnce) {
    SecondLevelTlb tlb;
    tlb.insert(set_mate(0), 10, PageRights::Global, nullptr);
    tlb.insert(set_mate(1), 11, 0, nullptr);
    tlb.remove(set_mate(1));
    tlb.insert(set_mate(0), 20, 0, nullptr);
    EXPECT_EQ(pfn_of(tlb, set_mate(0)), 20u);
    tlb.flush_non_global();
    EXPECT_EQ(tlb.find(set_mate(0)), nullptr);
}

TEST(SecondLevelTlb, DeadEntriesMakeRoom) {
    SecondLevelTlb tlb;
    tlb.insert(set_mate(0), 10, PageRights::Global, nullptr);
    tlb.insert(set_mate(1), 11, 0, nullptr);
    tlb.flush_non_global();
    tlb.insert(set_mate(2), 12, 0, nullptr);
    EXPECT_EQ(pfn_of(tlb, set_mate(0)), 10u) << "alive, so it stays";
    EXPECT_EQ(pfn_of(tlb, set_mate(2)), 12u);
}

TEST(SecondLevelTlb, RemovesFromOneAddressSpace) {
    SecondLevelTlb tlb;
    auto fill = [&](unsigned pcid, std::uint8_t rights) {
        tlb.select(pcid);
        tlb.insert(set_mate(0), pcid, rights, nullptr);
    };
    fill(1, 0);
    fill(2, 0);
    tlb.remove(set_mate(0));
    EXPECT_EQ(tlb.find(set_mate(0)), nullptr);
    tlb.select(1);
    EXPECT_EQ(pfn_of(tlb, set_mate(0)), 1u);
    tlb.remove_of(2, set_mate(0));
    EXPECT_EQ(pfn_of(tlb, set_mate(0)), 1u);
    tlb.select(3);
    tlb.remove_of(1, set_mate(0));
    tlb.select(1);
    EXPECT_EQ(tlb.find(set_mate(0)), nullptr);
    fill(2, PageRights::Global);
    tlb.remove_of(1, set_mate(0));
    EXPECT_EQ(tlb.find(set_mate(0)), nullptr);
}

TEST(SecondLevelTlb, RemovesRanges) {
    constexpr std::uint64_t start = 0x40000000;
    for (std::uint64_t length : {1ull << 21, 1ull << 30}) {
        SecondLevelTlb tlb;
        for (std::uint64_t at : {start - 4096, start, start + length - 4096, start + length})
            tlb.insert(at, at >> 12, 0, nullptr);
        tlb.remove_range(start, length);
        EXPECT_NE(tlb.find(start - 4096), nullptr);
        EXPECT_EQ(tlb.find(start), nullptr);
        EXPECT_EQ(tlb.find(start + length - 4096), nullptr);
        EXPECT_NE(tlb.find(start + length), nullptr);
    }
}

}  // namespace
}  // namespace undercroft
