// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/mapped_pages.hpp"

#include "base/fd.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace undercroft::direct {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t base = 0x7f0000000000;
constexpr std::uint64_t frames = 64;

struct MappedPagesTest : testing::Test {
    void SetUp() override {
        file = Fd{memfd_create("frames", MFD_CLOEXEC)};
        ASSERT_EQ(ftruncate(file.get(), frames * page), 0);
        auto made = GuestProcess::create(file.get());
        ASSERT_TRUE(made) << made.error().message;
        pages = std::make_unique<MappedPages>(*std::move(made));
        pages->begin(this);
    }
    void map(std::uint64_t n, std::uint64_t frame, bool writable = false) {
        pages->map(base + n * page, {.pfn = frame, .offset = frame * page, .writable = writable});
    }
    // What the host says: a line "start-end rights offset" for each mapping of frames.
    std::vector<std::string> mappings() const {
        std::vector<std::string> found;
        std::ifstream maps{"/proc/" + std::to_string(pages->process().pid()) + "/maps"};
        for (std::string line; std::getline(maps, line);) {
            if (line.find("frames") == std::string::npos) continue;
            std::uint64_t start = 0, end = 0, offset = 0;
            char rights[8]{};
            EXPECT_EQ(std::sscanf(line.c_str(), "%lx-%lx %7s %lx", &start, &end, rights, &offset), 4);
            found.push_back(std::to_string((start - base) / page) + "-" +
                            std::to_string((end - base) / page) + " " + std::string{rights, 3} + " " +
                            std::to_string(offset / page));
        }
        return found;
    }
    using Lines = std::vector<std::string>;

    Fd file;
    std::unique_ptr<MappedPages> pages;
};

TEST_F(MappedPagesTest, NothingIsMappedBeforeApply) {
    map(0, 5);
    EXPECT_TRUE(pages->has_changes());
    EXPECT_EQ(mappings(), Lines{});
    EXPECT_TRUE(pages->apply());
    EXPECT_FALSE(pages->has_changes());
    EXPECT_EQ(mappings(), Lines{"0-1 r-- 5"});
    ASSERT_NE(pages->find(base), nullptr);
    EXPECT_EQ(pages->find(base)->pfn, 5u);
    EXPECT_EQ(pages->find(base + page), nullptr);
}

TEST_F(MappedPagesTest, NeighboursAreOneMapping) {
    for (std::uint64_t n : {3u, 0u, 2u, 1u}) map(n, 10 + n);
    map(4, 20);        // elsewhere in the file
    map(5, 21, true);  // beside it, with other rights
    map(7, 23, true);  // not beside it
    EXPECT_TRUE(pages->apply());
    EXPECT_EQ(mappings(), (Lines{"0-4 r-- 10", "4-5 r-- 20", "5-6 rw- 21", "7-8 rw- 23"}));
}

TEST_F(MappedPagesTest, OfSeveralChangesOfAPageTheLastCounts) {
    map(0, 1);
    map(1, 2);
    map(0, 3, true);
    map(1, 4);
    pages->unmap(base + page, page);
    map(2, 5);
    pages->unmap(base + 2 * page, page);
    map(2, 6);
    EXPECT_TRUE(pages->apply());
    EXPECT_EQ(mappings(), (Lines{"0-1 rw- 3", "2-3 r-- 6"}));
}

TEST_F(MappedPagesTest, RangesAreUnmapped) {
    for (std::uint64_t n = 0; n < 10; ++n) map(n, n);
    EXPECT_TRUE(pages->apply());
    pages->unmap(base + 2 * page, 3 * page);
    EXPECT_TRUE(pages->apply());
    EXPECT_EQ(mappings(), (Lines{"0-2 r-- 0", "5-10 r-- 5"}));
    EXPECT_EQ(pages->size(), 7u);
    pages->unmap(base - (1ull << 30), (1ull << 30) + 6 * page);  // more than there are pages
    EXPECT_TRUE(pages->apply());
    EXPECT_EQ(mappings(), Lines{"6-10 r-- 6"});
    pages->unmap(base + 100 * page, page);  // of nothing
    EXPECT_FALSE(pages->has_changes());
}

TEST_F(MappedPagesTest, PagesAreUnmappedByWhatTheyAre) {
    for (std::uint64_t n = 0; n < 6; ++n) map(n, n % 2, n % 2 != 0);
    EXPECT_TRUE(pages->apply());
    pages->unmap_if([](std::uint64_t, const MappedPage& one) { return one.writable && one.pfn == 1; });
    EXPECT_TRUE(pages->apply());
    EXPECT_EQ(mappings(), (Lines{"0-1 r-- 0", "2-3 r-- 0", "4-5 r-- 0"}));
}

TEST_F(MappedPagesTest, BeginsWithNothing) {
    map(0, 0);
    EXPECT_TRUE(pages->apply());
    map(1, 9);  // not made yet
    int another = 0;
    pages->begin(&another);
    EXPECT_EQ(pages->owner(), &another);
    EXPECT_FALSE(pages->has_changes());
    EXPECT_EQ(pages->size(), 0u);
    EXPECT_EQ(mappings(), Lines{});
}

// The books have no page any more, but the process has: their unmapping was noted, and never made.
TEST_F(MappedPagesTest, BeginsWithNothingThoughTheBooksAreAhead) {
    map(0, 0);
    EXPECT_TRUE(pages->apply());
    pages->unmap(base, page);
    EXPECT_EQ(pages->size(), 0u);
    pages->begin(this);
    EXPECT_EQ(mappings(), Lines{});
}

TEST_F(MappedPagesTest, TooManyPagesAreNone) {
    map(0, 0);
    EXPECT_TRUE(pages->apply());
    for (std::uint64_t n = 0; n < 60'000; ++n) map(2 * n, n % frames);
    EXPECT_FALSE(pages->apply());
    EXPECT_EQ(pages->size(), 0u);
    EXPECT_EQ(mappings(), Lines{});
    map(3, 3);
    EXPECT_TRUE(pages->apply());
    EXPECT_EQ(mappings(), Lines{"3-4 r-- 3"});
}

TEST_F(MappedPagesTest, WhatTheHostRefusesLeavesNothing) {
    map(0, 0);
    EXPECT_TRUE(pages->apply());
    map(1, 1);
    pages->map(1ull << 47, {.pfn = 2, .offset = 2 * page});  // no user address
    EXPECT_FALSE(pages->apply());
    EXPECT_EQ(pages->size(), 0u);
    EXPECT_EQ(mappings(), Lines{});
}

TEST_F(MappedPagesTest, PatchedPagesComeToAnEndAndComeBack) {
    for (std::size_t n = 0; n < GuestProcess::patched_pages; ++n) EXPECT_EQ(pages->take_patched_page(), n);
    EXPECT_EQ(pages->take_patched_page(), std::nullopt);
    pages->begin(this);
    EXPECT_EQ(pages->take_patched_page(), std::size_t{0});
}

TEST_F(MappedPagesTest, EachThreadHasItsOwnUntilItIsLost) {
    MappedPages* mine = MappedPages::of_thread(file.get());
    ASSERT_NE(mine, nullptr);
    EXPECT_EQ(MappedPages::of_thread(file.get()), mine);
    EXPECT_EQ(MappedPages::present_of_thread(), mine);
    pid_t pid = mine->process().pid();
    std::thread{[&] {
        EXPECT_EQ(MappedPages::present_of_thread(), nullptr);
        MappedPages* other = MappedPages::of_thread(file.get());
        ASSERT_NE(other, nullptr);
        EXPECT_NE(other->process().pid(), pid);
    }}.join();
    kill(pid, SIGKILL);
    while (!mine->process().is_lost()) (void)mine->process().registers();
    MappedPages::forget_of_thread();
    EXPECT_EQ(MappedPages::present_of_thread(), nullptr);
    MappedPages* next = MappedPages::of_thread(file.get());
    ASSERT_NE(next, nullptr);
    EXPECT_NE(next->process().pid(), pid);
    MappedPages::forget_of_thread();
}

}  // namespace
}  // namespace undercroft::direct
