// SPDX-License-Identifier: Apache-2.0
#include "memory/frame_pool.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <span>
#include <thread>
#include <vector>

namespace undercroft {
namespace {

constexpr std::uint64_t MiB = 1 << 20;
constexpr std::uint64_t large_frames = 2 * MiB >> 12;

std::uint64_t number(MachineFrame frame) { return static_cast<std::uint64_t>(frame); }

std::shared_ptr<FramePool> make_pool(FrameBacking backing) {
    auto pool = FramePool::create(0, backing);
    EXPECT_TRUE(pool);
    return *std::move(pool);
}

// What each kind of memory promises.
class FramePools : public testing::TestWithParam<FrameBacking> {
protected:
    std::shared_ptr<FramePool> pool = make_pool(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Kinds, FramePools, testing::Values(FrameBacking::Shared, FrameBacking::Private),
                         [](const auto& kind) {
                             return kind.param == FrameBacking::Shared ? "Shared" : "Private";
                         });

bool is_zero(const std::byte* page) {
    return std::all_of(page, page + 4096, [](std::byte byte) { return byte == std::byte{0}; });
}

TEST_P(FramePools, HandsOutZeroedNeighboursOnce) {
    EXPECT_TRUE(is_zero(pool->zero_page()));
    std::set<std::uint64_t> seen{0, number(FramePool::zero_frame)};
    for (unsigned n = 0; n < 100; ++n) {
        FrameBatch batch;
        pool->take(batch);
        ASSERT_EQ(batch.count, FrameBatch::most);
        ASSERT_TRUE(batch.zero);
        for (unsigned i = 0; i < batch.count; ++i) {
            ASSERT_TRUE(seen.insert(number(batch.frames[i])).second);
            ASSERT_TRUE(is_zero(pool->host(batch.frames[i])));
            std::memset(pool->host(batch.frames[i]), 0xaa, 4096);
        }
        EXPECT_EQ(number(batch.frames[0]) - number(batch.frames[15]), 15u);
    }
    EXPECT_EQ(pool->in_use(), 1600u);
}

TEST_P(FramePools, SaysWhichFramesAreUsed) {
    FrameBatch batch;
    pool->take(batch);
    std::memset(pool->host(batch.frames[3]), 0xaa, 4096);
    pool->give_back(batch.frames[3]);
    pool->give_back(batch.frames[5]);
    EXPECT_EQ(pool->in_use(), 14u);
    FrameBatch next;
    pool->take(next);
    EXPECT_FALSE(next.zero);
    ASSERT_EQ(next.count, 2u);
    EXPECT_EQ(std::set({next.frames[0], next.frames[1]}), std::set({batch.frames[3], batch.frames[5]}));
    pool->take(next);
    EXPECT_TRUE(next.zero);
}

TEST_P(FramePools, ManyGivenBackAreZeroAgainAndTakenAgain) {
    std::vector<MachineFrame> all;
    FrameBatch batch;
    for (unsigned n = 0; n < 64; ++n) {
        pool->take(batch);
        for (MachineFrame frame : batch.frames) {
            all.push_back(frame);
            std::memset(pool->host(frame), 0xaa, 4096);
        }
    }
    auto order = all;
    std::reverse(order.begin(), order.end());
    std::swap(order[0], order[500]);
    pool->give_back(order);
    EXPECT_EQ(pool->in_use(), 0u);
    std::set<MachineFrame> again;
    for (unsigned n = 0; n < 64; ++n) {
        pool->take(batch);
        ASSERT_TRUE(batch.zero);
        for (unsigned i = 0; i < batch.count; ++i) {
            again.insert(batch.frames[i]);
            ASSERT_TRUE(is_zero(pool->host(batch.frames[i])));
        }
    }
    EXPECT_EQ(again, std::set<MachineFrame>(all.begin(), all.end()));
}

TEST_P(FramePools, RunsLieWhereTheyAreWanted) {
    FrameBatch batch;
    pool->take(batch);
    for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{0x3000}, 2 * MiB - 0x1000}) {
        auto run = pool->take_run(700, offset);
        ASSERT_TRUE(run);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pool->host(*run)) % (2 * MiB), offset);
    }
    // What was left out before them is taken next, and nothing twice.
    std::set<MachineFrame> seen;
    for (unsigned n = 0; n < 500; ++n) {
        pool->take(batch);
        for (unsigned i = 0; i < batch.count; ++i) ASSERT_TRUE(seen.insert(batch.frames[i]).second);
    }
}

TEST_P(FramePools, RunsAreUsedAgain) {
    std::set<MachineFrame> places;
    for (unsigned n = 0; n < 20; ++n) {
        auto run = pool->take_run(3 * large_frames, 0x5000);
        ASSERT_TRUE(run);
        places.insert(*run);
        std::vector<MachineFrame> frames;
        for (std::uint64_t i = 0; i < 3 * large_frames; ++i) frames.push_back(MachineFrame{number(*run) + i});
        pool->give_back(frames);
    }
    EXPECT_EQ(places.size(), 1u);
}

TEST_P(FramePools, PromisesWhatItHas) {
    constexpr std::uint64_t third = (std::uint64_t{100} << 30) >> 12;
    EXPECT_TRUE(pool->promise(third));
    EXPECT_TRUE(pool->promise(third));
    EXPECT_FALSE(pool->promise(third));
    pool->release_promise(third);
    EXPECT_TRUE(pool->promise(third));
    EXPECT_FALSE(FramePool::create(std::uint64_t{1} << 42, GetParam()));
}

TEST_P(FramePools, IsSharedByThreads) {
    constexpr unsigned threads = 4;
    std::vector<std::vector<MachineFrame>> taken(threads);
    std::vector<std::thread> running;
    for (unsigned n = 0; n < threads; ++n) {
        running.emplace_back([&, n] {
            FrameBatch batch;
            for (unsigned round = 0; round < 300; ++round) {
                pool->take(batch);
                for (unsigned i = 0; i < batch.count; ++i) {
                    if (i % 2 == 0)
                        taken[n].push_back(batch.frames[i]);
                    else
                        pool->give_back(batch.frames[i]);
                }
            }
        });
    }
    for (std::thread& thread : running) thread.join();
    std::set<MachineFrame> all;
    std::size_t count = 0;
    for (const auto& mine : taken) {
        all.insert(mine.begin(), mine.end());
        count += mine.size();
    }
    EXPECT_EQ(all.size(), count);
    EXPECT_EQ(pool->in_use(), count);
}

TEST_P(FramePools, BatchesLieWithinALargePage) {
    ASSERT_TRUE(pool->take_run(8, 0));
    for (std::uint64_t left = large_frames - 8; left > 0;) {
        FrameBatch batch;
        pool->take(batch);
        ASSERT_EQ(batch.count, std::min<std::uint64_t>(left, FrameBatch::most));
        left -= batch.count;
    }
}

TEST_P(FramePools, ContentsComeAlong) {
    constexpr std::size_t size = 5 * MiB + 0x3000;
    void* source = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(source, MAP_FAILED);
    std::span pages{static_cast<std::byte*>(source), size};
    for (std::size_t i = 0; i < size; ++i) pages[i] = static_cast<std::byte>(i + i / 4096);
    std::vector<std::byte> expected(pages.begin(), pages.end());
    auto first = pool->take_with_contents(pages);
    ASSERT_TRUE(first);
    EXPECT_EQ(std::memcmp(pool->host(*first), expected.data(), size), 0);
    EXPECT_EQ(pool->in_use(), size / 4096);
    pages[0] = std::byte{1};  // still there
    munmap(source, size);
}

class SharedFrames : public testing::Test {
protected:
    void SetUp() override {
        if (pool->file() < 0) GTEST_SKIP() << "this host has no large pages in files";
    }
    std::shared_ptr<FramePool> pool = make_pool(FrameBacking::Shared);
};

TEST_F(SharedFrames, AreSeenThroughAnotherMapping) {
    FrameBatch batch;
    pool->take(batch);
    std::byte* host = pool->host(batch.frames[5]);
    EXPECT_EQ(pool->offset_of(host + 3), (number(batch.frames[5]) << 12) + 3);
    auto offset = static_cast<off_t>(pool->offset_of(host));
    void* mapping = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, pool->file(), offset);
    ASSERT_NE(mapping, MAP_FAILED);
    auto* other = static_cast<std::byte*>(mapping);
    host[7] = std::byte{0xaa};
    EXPECT_EQ(other[7], std::byte{0xaa});
    other[8] = std::byte{0xbb};
    EXPECT_EQ(host[8], std::byte{0xbb});
    pool->give_back(batch.frames[5]);
    EXPECT_EQ(other[7], std::byte{0xaa});
    EXPECT_EQ(pool->trim(0, 16), 1u);
    EXPECT_EQ(other[7], std::byte{0});
    EXPECT_EQ(other[8], std::byte{0});
    munmap(mapping, 4096);
}

TEST_F(SharedFrames, AreBackedByLargePagesAndGivenBackWhole) {
    auto resident = [&](std::uint64_t frame) {
        std::vector<unsigned char> pages(large_frames);
        EXPECT_EQ(mincore(pool->host(MachineFrame{frame}), 2 * MiB, pages.data()), 0);
        return std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
    };
    auto run = pool->take_run(3 * large_frames, 0);
    ASSERT_TRUE(run);
    std::vector<MachineFrame> frames;
    for (std::uint64_t i = 0; i < 3 * large_frames; ++i) frames.push_back(MachineFrame{number(*run) + i});
    std::memset(pool->host(*run), 0xaa, 6 * MiB);
    EXPECT_EQ(resident(number(*run) + large_frames), 512);
    pool->give_back(frames);
    EXPECT_EQ(resident(number(*run) + large_frames), 0);
    FrameBatch batch;
    pool->take(batch);
    EXPECT_EQ(number(batch.frames[batch.count - 1]), number(*run));
    EXPECT_EQ(resident(number(*run)), 512);
    EXPECT_TRUE(is_zero(pool->host(MachineFrame{number(*run) + 300})));
    EXPECT_EQ(resident(number(*run) + large_frames), 0);
}

TEST(FramePool, IsPrivateWhereFilesMayNotBeSoLarge) {
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    rlimit low{.rlim_cur = MiB, .rlim_max = before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
    auto pool = make_pool(FrameBacking::Shared);
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(pool->file(), -1);
    FrameBatch batch;
    pool->take(batch);
    EXPECT_TRUE(is_zero(pool->host(batch.frames[0])));
    EXPECT_EQ(make_pool(FrameBacking::Private)->file(), -1);
}

}  // namespace
}  // namespace undercroft
