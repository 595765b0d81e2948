// SPDX-License-Identifier: Apache-2.0
// The balloon as its driver sees it.
#include "virtio/balloon.hpp"

#include "virtio/test_driver.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace undercroft::test {
namespace {

constexpr std::uint64_t data = 0x8000;
constexpr std::uint64_t num_pages = 0x100;
constexpr std::uint64_t actual = 0x104;

struct BalloonTest : testing::Test, BalloonMemory {
    TestMemory memory;
    std::mutex lock;
    VirtioBalloon balloon{*this, memory.device(), lock};
    bool line = false;
    MmioTransport transport{balloon, memory.device(), [this](bool level) { line = level; }, "balloon"};
    std::vector<PageRange> given_up;
    std::atomic<bool> stops = true;  // do the vCPUs?
    std::atomic<unsigned> refused = 0;

    bool give_up(std::span<const PageRange> pages, GivenUp) override {
        if (!stops) {
            ++refused;
            return false;
        }
        given_up.insert(given_up.end(), pages.begin(), pages.end());
        return true;
    }
    void offer(std::initializer_list<Descriptor> chain) {
        memory.offer(0, chain);
        write(transport, Reg::QueueNotify, 0);
    }
    bool needs_reset() {
        return (read(transport, Reg::Status) & MmioTransport::Status::DEVICE_NEEDS_RESET) != 0;
    }
};

TEST_F(BalloonTest, WhatTheDriverPutsIntoItIsGivenUp) {
    start_driver(transport);
    memory.put(data, std::array<std::uint32_t, 4>{9, 4, 0xffffffff, 7});
    offer({{data, 16}});
    balloon.serve();
    EXPECT_EQ(given_up, (std::vector<PageRange>{{4, 1}, {7, 1}, {9, 1}, {0xffffffff, 1}}));
    EXPECT_EQ(memory.used_index(), 1);
    EXPECT_TRUE(line);
}

TEST_F(BalloonTest, ALongRequestOfSeveralPieces) {
    start_driver(transport);
    std::vector<std::uint32_t> all;
    for (std::uint32_t n = 0; n < 1500; ++n) memory.put(data + 4 * n, n + 100);
    offer({{data, 4000}, {data + 4000, 2000}, {data, 3}});
    balloon.serve();
    ASSERT_EQ(given_up.size(), 1500u) << "what is no whole number is nothing";
    EXPECT_EQ(given_up.back(), (PageRange{1599, 1}));
}

TEST_F(BalloonTest, TakingBackNeedsNoAnswer) {
    start_driver(transport, 0, 8, 1);
    memory.put(data, std::uint32_t{9});
    memory.offer(0, {{data, 4}});
    write(transport, Reg::QueueNotify, 1);
    balloon.serve();
    EXPECT_TRUE(given_up.empty());
    EXPECT_EQ(memory.used_index(), 1);
}

TEST_F(BalloonTest, ReportedPagesAreGivenUpWithoutATouch) {
    start_driver(transport, VirtioBalloon::Feature::Reporting, 8, 2);
    memory.offer(
        0, {{0x10000, 0x4000, flag::write}, {0x20800, 0x2000, flag::write}, {0x30000, 0x800, flag::write}});
    write(transport, Reg::QueueNotify, 2);
    balloon.serve();
    EXPECT_EQ(given_up, (std::vector<PageRange>{{0x10, 4}, {0x21, 1}})) << "whole pages only";
    EXPECT_EQ(memory.used_index(), 1);
    EXPECT_EQ(memory.used_element(0).second, 0u);
    EXPECT_TRUE(memory.written().empty() || memory.written().front().first < 0x3000) << "rings only";
}

TEST_F(BalloonTest, ReportsOutsideOfMemoryHarmNobody) {
    start_driver(transport, VirtioBalloon::Feature::Reporting, 8, 2);
    memory.offer(0, {{~0ull - 0xfff, 0xffffffff, flag::write}, {1ull << 45, 0x1000, flag::write}});
    write(transport, Reg::QueueNotify, 2);
    balloon.serve();
    EXPECT_EQ(given_up, (std::vector<PageRange>{{1ull << 33, 1}}));
    EXPECT_FALSE(needs_reset());
}

TEST_F(BalloonTest, WithoutTheFeatureThereIsNoQueueForReports) {
    start_driver(transport, 0, 8, 2);
    memory.offer(0, {{0x10000, 0x4000, flag::write}});
    write(transport, Reg::QueueNotify, 2);
    balloon.serve();
    EXPECT_TRUE(given_up.empty());
    EXPECT_EQ(memory.used_index(), 0);
}

TEST_F(BalloonTest, TheTargetIsAChangeOfTheConfiguration) {
    balloon.set_target(5);
    EXPECT_FALSE(line) << "nobody is there";
    start_driver(transport);
    EXPECT_TRUE(balloon.has_driver());
    EXPECT_EQ(transport.read(num_pages, 4), 5u);
    std::uint32_t generation = read(transport, Reg::ConfigGeneration);
    balloon.set_target(0x12345);
    EXPECT_TRUE(line);
    EXPECT_EQ(read(transport, Reg::InterruptStatus), MmioTransport::Interrupt::ConfigurationChange);
    EXPECT_NE(read(transport, Reg::ConfigGeneration), generation);
    EXPECT_EQ(transport.read(num_pages, 4), 0x12345u);
    write(transport, Reg::InterruptACK, 2);
    balloon.set_target(0x12345);
    EXPECT_FALSE(line) << "it is the same";
}

TEST_F(BalloonTest, TheDriverSaysWhatItHolds) {
    start_driver(transport);
    transport.write(actual, 4, 0x01020304);
    transport.write(num_pages, 4, 77);
    transport.write(num_pages + 0x40, 4, 77);
    EXPECT_EQ(balloon.held(), 0x01020304u);
    EXPECT_EQ(balloon.target(), 0u);
    transport.write(actual + 1, 1, 0xff);
    EXPECT_EQ(transport.read(actual, 4), 0x0102ff04u);
    write(transport, Reg::Status, 0);
    EXPECT_EQ(balloon.held(), 0u);
    EXPECT_FALSE(balloon.has_driver());
}

TEST_F(BalloonTest, ABrokenQueueStopsIt) {
    start_driver(transport);
    offer({{1ull << 45, 16}});
    balloon.serve();
    EXPECT_TRUE(needs_reset());
    start_driver(transport);
    EXPECT_FALSE(needs_reset());
}

// The vCPU that resets the device does not stop before the device has let go.
TEST_F(BalloonTest, AResetDoesNotWaitForAVcpuThatWaitsForIt) {
    start_driver(transport);
    stops = false;
    memory.put(data, std::uint32_t{9});
    offer({{data, 4}});
    std::thread thread{[this] { balloon.serve(); }};
    while (refused == 0) std::this_thread::yield();
    {
        std::lock_guard guard{lock};
        write(transport, Reg::Status, 0);
    }
    thread.join();
    EXPECT_TRUE(given_up.empty());
    EXPECT_EQ(memory.used_index(), 0);
}

}  // namespace
}  // namespace undercroft::test
