// SPDX-License-Identifier: Apache-2.0
#include "mmu/rendezvous.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace undercroft {
namespace {

constexpr std::uint32_t notice = 1;

struct Group {
    explicit Group(unsigned count) : attention(count) {
        for (unsigned n = 0; n < count; ++n) rendezvous.join(n, attention[n], notice);
    }
    void look(unsigned member) {
        if (attention[member].exchange(0) != 0) rendezvous.pass(member);
    }
    Rendezvous rendezvous;
    std::vector<std::atomic<std::uint32_t>> attention;
};

TEST(Rendezvous, DoesNotWaitForWhoDoesNotExecute) {
    Group group{3};
    group.rendezvous.enter(0);
    group.rendezvous.wait_for(0, 0b110);
    group.rendezvous.begin_exclusive(0);
    group.rendezvous.end_exclusive(0);
    group.rendezvous.leave(0);
    EXPECT_EQ(group.attention[1].load(), 0u) << "nobody has to be asked";
}

// The other looks whether it may write, and writes a while later: never after the wait.
TEST(Rendezvous, WaitsUntilTheOtherHasPassed) {
    Group group{2};
    std::atomic<bool> may_write{true};
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> data{0};
    std::thread writer{[&] {
        group.rendezvous.enter(0);
        while (!done) {
            group.look(0);
            if (!may_write.load(std::memory_order_relaxed)) continue;
            for (int n = 0; n < 20; ++n) __builtin_ia32_pause();
            data.store(data.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
        group.rendezvous.leave(0);
    }};
    group.rendezvous.enter(1);
    for (int round = 0; round < 2000; ++round) {
        may_write.store(false);
        group.rendezvous.ask(0);
        group.rendezvous.wait_for(1, 1);
        std::uint64_t seen = data.load();
        for (int n = 0; n < 100; ++n) __builtin_ia32_pause();
        ASSERT_EQ(data.load(), seen) << "round " << round;
        may_write.store(true);
    }
    group.rendezvous.leave(1);
    done = true;
    writer.join();
}

TEST(Rendezvous, TwoMayWaitForEachOther) {
    Group group{2};
    std::vector<std::thread> threads;
    std::atomic<unsigned> finished{0};
    for (unsigned self : {0u, 1u}) {
        threads.emplace_back([&, self] {
            group.rendezvous.enter(self);
            for (int round = 0; round < 2000; ++round) {
                group.rendezvous.ask(1 - self);
                group.rendezvous.wait_for(self, 1ull << (1 - self));
                group.look(self);
            }
            group.rendezvous.leave(self);
            ++finished;
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(finished, 2u);
}

// Everybody counts, now and then with memory for himself: no count is lost, and nobody is in the middle of an
// instruction meanwhile.
TEST(Rendezvous, ExclusiveMeansAlone) {
    constexpr unsigned count = 4;
    constexpr unsigned rounds = 4000;
    Group group{count};
    std::vector<std::atomic<int>> busy(count);
    std::atomic<std::uint64_t> counter{0};
    std::atomic<unsigned> intrusions{0};
    std::vector<std::thread> threads;
    for (unsigned self = 0; self < count; ++self) {
        threads.emplace_back([&, self] {
            group.rendezvous.enter(self);
            for (unsigned round = 0; round < rounds; ++round) {
                group.look(self);
                if (round % 8 == 0) {
                    group.rendezvous.begin_exclusive(self);
                    for (auto& other : busy) intrusions += other.load() != 0;
                    counter.store(counter.load() + 1);
                    group.rendezvous.end_exclusive(self);
                } else {
                    busy[self] = 1;
                    busy[self] = 0;
                }
            }
            group.rendezvous.leave(self);
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(intrusions, 0u);
    EXPECT_EQ(counter, std::uint64_t{count} * rounds / 8);
}

}  // namespace
}  // namespace undercroft
