// SPDX-License-Identifier: Apache-2.0
#include "memory/frame_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace undercroft {
namespace {

constexpr std::uint64_t MiB = 1 << 20;
constexpr std::uint64_t large_frames = 2 * MiB >> 12;

std::uint64_t number(MachineFrame frame) { return static_cast<std::uint64_t>(frame); }

std::shared_ptr<FramePool> make_pool(std::uint64_t bytes = 0) {
    auto pool = FramePool::create(bytes);
    EXPECT_TRUE(pool);
    return *std::move(pool);
}

bool is_zero(const std::byte* page) {
    return std::all_of(page, page + 4096, [](std::byte byte) { return byte == std::byte{0}; });
}

TEST(FramePool, HandsOutZeroedNeighboursOnce) {
    auto pool = make_pool();
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

TEST(FramePool, SaysWhichFramesAreUsed) {
    auto pool = make_pool();
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

TEST(FramePool, ManyGivenBackAreZeroAgainAndTakenAgain) {
    auto pool = make_pool();
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

TEST(FramePool, RunsLieWhereTheyAreWanted) {
    auto pool = make_pool();
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

TEST(FramePool, RunsAreUsedAgain) {
    auto pool = make_pool();
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

TEST(FramePool, PromisesWhatItHas) {
    auto pool = make_pool();
    constexpr std::uint64_t third = (std::uint64_t{100} << 30) >> 12;
    EXPECT_TRUE(pool->promise(third));
    EXPECT_TRUE(pool->promise(third));
    EXPECT_FALSE(pool->promise(third));
    pool->release_promise(third);
    EXPECT_TRUE(pool->promise(third));
    EXPECT_FALSE(FramePool::create(std::uint64_t{1} << 42));
}

TEST(FramePool, IsSharedByThreads) {
    auto pool = make_pool();
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

}  // namespace
}  // namespace undercroft
