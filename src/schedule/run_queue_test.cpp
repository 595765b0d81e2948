// SPDX-License-Identifier: Apache-2.0
// Shares, caps and wake-ups, simulated: time is a number here.
#include "schedule/run_queue.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <map>

namespace undercroft {
namespace {

constexpr Nanoseconds millisecond = 1'000'000;
constexpr Nanoseconds second = 1'000 * millisecond;

class SilentTask final : public Task {
public:
    TurnResult run() override { return {}; }
    void preempt() noexcept override {}
    void forget_preempt() noexcept override {}
    bool is_ready() const noexcept override { return false; }
};

class RunQueueTest : public testing::Test {
protected:
    RunQueue queue{{}};
    std::deque<SilentTask> tasks;
    std::deque<Share> shares;
    std::map<const Task*, Nanoseconds> had;
    Time now = second;

    Share& share(ShareOptions options) { return shares.emplace_back(options); }
    Task& task_of(Share& share) {
        Task& task = tasks.emplace_back();
        queue.add(task, share, now);
        return task;
    }
    Task& ready_task(ShareOptions options) {
        Task& task = task_of(share(options));
        queue.make_ready(task, now);
        return task;
    }

    // So many processors, each of which takes what is next and runs it for a slice.
    void compute(Nanoseconds time, unsigned processors, Nanoseconds turn = 4 * millisecond) {
        std::vector<Task*> running(processors, nullptr);
        for (Time end = now + time; now < end; now += turn) {
            queue.expire(now, [](Task&) {});
            for (Task*& task : running) task = queue.pick(now);
            for (Task* task : running) {
                if (task == nullptr) continue;
                had[task] += turn;
                queue.put_back(*task, TurnEnd::Preempted, never, now + turn);
            }
        }
    }
    double part(const Task& task, Nanoseconds of) {
        return static_cast<double>(had[&task]) / static_cast<double>(of);
    }
};

TEST_F(RunQueueTest, WeightsDivideAProcessor) {
    Task& one = ready_task({.weight = 100});
    Task& two = ready_task({.weight = 200});
    Task& four = ready_task({.weight = 400});
    compute(10 * second, 1);
    EXPECT_NEAR(part(one, 10 * second), 1 / 7., 0.002);
    EXPECT_NEAR(part(two, 10 * second), 2 / 7., 0.002);
    EXPECT_NEAR(part(four, 10 * second), 4 / 7., 0.002);
}

// Four sevenths of two processors are more than a single vCPU can use: the others divide the rest.
TEST_F(RunQueueTest, WhatAShareCannotUseIsTheOthers) {
    Task& one = ready_task({.weight = 100});
    Task& two = ready_task({.weight = 200});
    Task& four = ready_task({.weight = 400});
    compute(10 * second, 2);
    EXPECT_NEAR(part(four, 10 * second), 1, 0.01);
    EXPECT_NEAR(part(one, 10 * second), 1 / 3., 0.01);
    EXPECT_NEAR(part(two, 10 * second), 2 / 3., 0.01);
}

TEST_F(RunQueueTest, ASharesTasksDivideItsPart) {
    Share& pair = share({.weight = 100});
    Task& first = task_of(pair);
    Task& second_one = task_of(pair);
    queue.make_ready(first, now);
    queue.make_ready(second_one, now);
    Task& alone = ready_task({.weight = 100});
    compute(4 * second, 1);
    EXPECT_NEAR(part(alone, 4 * second), 0.5, 0.01);
    EXPECT_NEAR(part(first, 4 * second), 0.25, 0.01);
    EXPECT_NEAR(part(second_one, 4 * second), 0.25, 0.01);
}

TEST_F(RunQueueTest, ACapHoldsWithoutOthers) {
    Task& capped = ready_task({.cap_percent = 30});
    compute(10 * second, 1, millisecond);
    EXPECT_NEAR(part(capped, 10 * second), 0.3, 0.006);
}

TEST_F(RunQueueTest, ACapIsForAllTasksOfTheShare) {
    Share& capped = share({.cap_percent = 150});
    std::array<Task*, 4> of_it{};
    for (Task*& task : of_it) {
        task = &task_of(capped);
        queue.make_ready(*task, now);
    }
    compute(10 * second, 4, millisecond);
    double sum = 0;
    for (Task* task : of_it) sum += part(*task, 10 * second);
    EXPECT_NEAR(sum, 1.5, 0.03);
}

TEST_F(RunQueueTest, WhoComesBackRunsAtOnceAndHasSavedNothing) {
    Task& busy = ready_task({});
    Task& sleeper = task_of(share({}));
    compute(second, 1);
    ASSERT_EQ(queue.pick(now), &busy);
    now += millisecond;
    queue.make_ready(sleeper, now);
    EXPECT_TRUE(queue.preempts(sleeper, busy, now));
    queue.put_back(busy, TurnEnd::Preempted, never, now);
    had.clear();
    compute(second, 1);
    EXPECT_NEAR(part(sleeper, second), 0.5, 0.02) << "a second of sleep gives no second of precedence";
}

// Whoever has had least of those who compute, and has just begun to run.
TEST_F(RunQueueTest, WhoComesBackRunsBeforeAnybodyThatComputes) {
    std::vector<Task*> busy;
    for (int n = 0; n < 4; ++n) busy.push_back(&ready_task({}));
    Task& sleeper = task_of(share({}));
    compute(100 * millisecond, 2);  // until nobody has credit from his start
    for (int round = 0; round < 100; ++round) {
        std::array<Task*, 2> running{queue.pick(now), queue.pick(now)};
        queue.make_ready(sleeper, now);
        for (Task* task : running) EXPECT_TRUE(queue.preempts(sleeper, *task, now));
        now += static_cast<Nanoseconds>(round * 37 % 40 + 1) * millisecond / 10;
        queue.put_back(*running[0], TurnEnd::Preempted, never, now);
        ASSERT_EQ(queue.pick(now), &sleeper);
        now += millisecond / 100;
        queue.put_back(sleeper, TurnEnd::Waits, never, now);
        queue.put_back(*running[1], TurnEnd::Preempted, never, now);
    }
}

TEST_F(RunQueueTest, EqualsDoNotEndEachOthersTurns) {
    Task& a = ready_task({});
    Task& b = ready_task({});
    Task* running = queue.pick(now);
    Task& other = running == &a ? b : a;
    now += millisecond / 4;
    EXPECT_FALSE(queue.preempts(other, *running, now));
}

TEST_F(RunQueueTest, WaitsUntilItsDeadline) {
    Task& task = ready_task({});
    ASSERT_EQ(queue.pick(now), &task);
    queue.put_back(task, TurnEnd::Waits, now + millisecond, now);
    EXPECT_EQ(queue.next_event(), now + millisecond);
    EXPECT_EQ(queue.pick(now), nullptr);
    int ready = 0;
    queue.expire(now + millisecond - 1, [&](Task&) { ++ready; });
    EXPECT_EQ(ready, 0);
    queue.expire(now + millisecond, [&](Task&) { ++ready; });
    EXPECT_EQ(ready, 1);
    EXPECT_EQ(queue.next_event(), never);
    EXPECT_EQ(queue.pick(now + millisecond), &task);
}

// Polls now and then, for ever longer times, and the others have the processor.
TEST_F(RunQueueTest, WhoSpinsRests) {
    Task& spins = ready_task({});
    Task& computes = ready_task({});
    Nanoseconds computed = 0;
    Nanoseconds spun = 0;
    for (Time end = now + second; now < end;) {
        queue.expire(now, [](Task&) {});
        Task* task = queue.pick(now);
        if (task == nullptr) {
            now = queue.next_event();
            continue;
        }
        Nanoseconds turn = task == &spins ? 3'000 : 4 * millisecond;
        now += turn;
        (task == &spins ? spun : computed) += turn;
        queue.put_back(*task, task == &spins ? TurnEnd::Spins : TurnEnd::Preempted, never, now);
    }
    EXPECT_GT(computed, second / 100 * 98);
    EXPECT_GT(spun, 0u);
    (void)computes;
}

// It is noticed later the first time that it goes round in a loop; what it did before may have been work.
TEST_F(RunQueueTest, ANewWaitRestsShortlyAgain) {
    Task& spins = ready_task({});
    auto rest_after = [&](Nanoseconds turn) {
        EXPECT_EQ(queue.pick(now), &spins);
        queue.put_back(spins, TurnEnd::Spins, never, now += turn);
        Nanoseconds rest = queue.next_event() - now;
        queue.expire(now += rest, [](Task&) {});
        return rest;
    };
    EXPECT_EQ(rest_after(3'000), 50'000u);
    EXPECT_EQ(rest_after(3'000), 100'000u);
    EXPECT_EQ(rest_after(3'000), 200'000u);
    EXPECT_EQ(rest_after(20'000), 50'000u);
    EXPECT_EQ(rest_after(3'000), 100'000u);
}

TEST_F(RunQueueTest, WhoSpinsDoesNotEndATurn) {
    Task& spins = ready_task({});
    ASSERT_EQ(queue.pick(now), &spins);
    queue.put_back(spins, TurnEnd::Spins, never, now);
    Task& computes = ready_task({});
    ASSERT_EQ(queue.pick(now), &computes);
    now += 3 * millisecond;
    int expired = 0;
    queue.expire(now, [&](Task& task) {
        ++expired;
        EXPECT_FALSE(queue.preempts(task, computes, now));
    });
    EXPECT_EQ(expired, 1);
}

TEST_F(RunQueueTest, WhoPausesLetsTheNextOneRun) {
    Task& pauses = ready_task({.weight = 1000});
    ASSERT_EQ(queue.pick(now), &pauses);
    Task& other = ready_task({.weight = 1});
    queue.put_back(pauses, TurnEnd::Paused, never, now + 1000);
    EXPECT_EQ(queue.pick(now + 1000), &other);
}

TEST_F(RunQueueTest, ASiblingIsTheOneOfTheSameShare) {
    Share& pair = share({.weight = 1});
    Task& first = task_of(pair);
    Task& sibling = task_of(pair);
    queue.make_ready(first, now);
    Task* running = queue.pick(now);
    ASSERT_EQ(running, &first);
    ready_task({.weight = 10'000});
    EXPECT_EQ(queue.pick_sibling(first, now), nullptr) << "it waits";
    queue.make_ready(sibling, now);
    EXPECT_EQ(queue.pick_sibling(first, now), &sibling);
}

TEST_F(RunQueueTest, AHeldShareDoesNotRun) {
    Task& task = ready_task({});
    queue.hold(shares.front());
    queue.hold(shares.front());
    EXPECT_EQ(queue.pick(now), nullptr);
    int ready = 0;
    queue.release(shares.front(), now, [&](Task&) { ++ready; });
    EXPECT_EQ(ready, 0);
    queue.release(shares.front(), now, [&](Task&) { ++ready; });
    EXPECT_EQ(ready, 1);
    EXPECT_EQ(queue.pick(now), &task);
}

TEST_F(RunQueueTest, AWeightMayChange) {
    Task& a = ready_task({});
    Task& b = ready_task({});
    queue.hold(shares.front());
    queue.set_options(shares.front(), {.weight = 300}, now);
    queue.release(shares.front(), now, [](Task&) {});
    compute(4 * second, 1);
    EXPECT_NEAR(part(a, 4 * second), 0.75, 0.01);
    EXPECT_NEAR(part(b, 4 * second), 0.25, 0.01);
}

TEST_F(RunQueueTest, TakesTasksOutOfTheMiddle) {
    std::vector<Task*> all;
    for (unsigned n = 0; n < 50; ++n) {
        all.push_back(&task_of(share({})));
        queue.make_ready(*all.back(), now);
        Task* picked = queue.pick(now);
        queue.put_back(*picked, TurnEnd::Waits, now + (n * 37 % 50 + 1) * millisecond, now + n);
    }
    for (unsigned n = 0; n < 50; n += 2) queue.make_ready(*all[n], now);
    Time last = 0;
    unsigned count = 0;
    for (; queue.next_event() != never; ++count) {
        Time next = queue.next_event();
        EXPECT_GE(next, last);
        last = next;
        Task* expired = nullptr;
        queue.expire(next, [&](Task& task) { expired = &task; });
        ASSERT_NE(expired, nullptr);
    }
    EXPECT_EQ(count, 25u);
}

}  // namespace
}  // namespace undercroft
