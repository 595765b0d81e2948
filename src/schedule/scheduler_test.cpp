// SPDX-License-Identifier: Apache-2.0
#include "schedule/scheduler.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace undercroft {
namespace {

// A task whose turns are a function.
class TestTask final : public Task {
public:
    using Turn = std::function<TurnResult(TestTask&)>;
    explicit TestTask(Turn turn) : turn_{std::move(turn)} {}

    TurnResult run() override {
        ++turns;
        return turn_(*this);
    }
    void preempt() noexcept override { preempted = true; }
    void forget_preempt() noexcept override { preempted = false; }
    bool is_ready() const noexcept override { return pending; }

    // Computes until its turn shall end.
    TurnResult compute() const {
        while (!preempted && !ended) __builtin_ia32_pause();
        return {ended ? TurnEnd::Ended : TurnEnd::Preempted};
    }

    std::atomic<bool> preempted{false};
    std::atomic<bool> pending{false};
    std::atomic<bool> ended{false};
    std::atomic<unsigned> turns{0};

private:
    Turn turn_;
};

// Something that a test waits for.
class Event {
public:
    void happen() {
        std::lock_guard lock{mutex_};
        ++times_;
        condition_.notify_all();
    }
    void wait(unsigned times = 1) {
        std::unique_lock lock{mutex_};
        condition_.wait(lock, [&] { return times_ >= times; });
    }

private:
    std::mutex mutex_;
    std::condition_variable condition_;
    unsigned times_ = 0;
};

class SchedulerTest : public testing::Test {
protected:
    std::unique_ptr<Scheduler> make(unsigned processors) {
        return *Scheduler::create({.processors = processors});
    }
    static TurnResult ends(TestTask&) { return {TurnEnd::Ended}; }
};

TEST_F(SchedulerTest, RunsATaskWhenItIsWoken) {
    auto scheduler = make(2);
    Share share{{}};
    Event ran;
    TestTask task{[&](TestTask&) {
        ran.happen();
        return TurnResult{TurnEnd::Ended};
    }};
    scheduler->add(task, share);
    EXPECT_EQ(task.turns, 0u);
    scheduler->wake(task);
    ran.wait();
    scheduler->remove(task);
    EXPECT_EQ(task.turns, 1u);
}

TEST_F(SchedulerTest, RemovesATaskThatNeverRan) {
    auto scheduler = make(1);
    Share share{{}};
    TestTask task{ends};
    scheduler->add(task, share);
    scheduler->remove(task);
    EXPECT_EQ(task.turns, 0u);
}

TEST_F(SchedulerTest, WakesAtTheDeadline) {
    auto scheduler = make(1);
    Share share{{}};
    Time asked = 0;
    Time came = 0;
    TestTask task{[&](TestTask& self) -> TurnResult {
        if (self.turns == 1) {
            asked = time_now() + 2'000'000;
            return {TurnEnd::Waits, asked};
        }
        came = time_now();
        return {TurnEnd::Ended};
    }};
    scheduler->add(task, share);
    scheduler->wake(task);
    scheduler->remove(task);
    EXPECT_GE(came, asked);
}

// While all processors are busy, time is somebody else's business.
TEST_F(SchedulerTest, WakesAtTheDeadlineWhileOthersCompute) {
    auto scheduler = make(1);
    Share shares[2]{Share{{}}, Share{{}}};
    TestTask busy{[](TestTask& self) { return self.compute(); }};
    TestTask sleeper{[&](TestTask& self) -> TurnResult {
        if (self.turns < 20) return {TurnEnd::Waits, time_now() + 1'000'000};
        busy.ended = true;
        return {TurnEnd::Ended};
    }};
    scheduler->add(busy, shares[0]);
    scheduler->add(sleeper, shares[1]);
    scheduler->wake(busy);
    scheduler->wake(sleeper);
    scheduler->remove(sleeper);
    scheduler->remove(busy);
    EXPECT_EQ(sleeper.turns, 20u);
}

// What comes between the task's last look and its waiting is not lost.
TEST_F(SchedulerTest, NoWakeUpIsLost) {
    auto scheduler = make(2);
    Share share{{}};
    constexpr unsigned rounds = 20'000;
    std::atomic<unsigned> seen{0};
    Event finished;
    TestTask task{[&](TestTask& self) -> TurnResult {
        if (self.pending.exchange(false)) ++seen;
        if (seen < rounds) return {TurnEnd::Waits};
        finished.happen();
        return {TurnEnd::Ended};
    }};
    scheduler->add(task, share);
    scheduler->wake(task);
    for (unsigned n = 0; n < rounds; ++n) {
        task.pending = true;
        scheduler->wake(task);
        while (seen == n) __builtin_ia32_pause();
    }
    finished.wait();
    scheduler->remove(task);
    EXPECT_EQ(seen, rounds);
}

TEST_F(SchedulerTest, TwoThatComputeTakeTurns) {
    auto scheduler = make(1);
    Share shares[2]{Share{{}}, Share{{}}};
    Event turns;
    auto computes = [&](TestTask& self) {
        turns.happen();
        return self.compute();
    };
    TestTask a{computes};
    TestTask b{computes};
    scheduler->add(a, shares[0]);
    scheduler->add(b, shares[1]);
    scheduler->wake(a);
    scheduler->wake(b);
    turns.wait(10);
    a.ended = b.ended = true;
    scheduler->remove(a);
    scheduler->remove(b);
    EXPECT_GE(a.turns, 3u);
    EXPECT_GE(b.turns, 3u);
}

TEST_F(SchedulerTest, AHeldShareStandsStill) {
    auto scheduler = make(2);
    Share share{{}};
    std::atomic<bool> inside{false};
    Event began;
    TestTask task{[&](TestTask& self) {
        inside = true;
        began.happen();
        TurnResult result = self.compute();
        inside = false;
        return result;
    }};
    scheduler->add(task, share);
    scheduler->wake(task);
    began.wait();
    for (unsigned n = 0; n < 100; ++n) {
        scheduler->hold(share);
        unsigned turns = task.turns;
        EXPECT_FALSE(inside);
        scheduler->wake(task);
        EXPECT_EQ(task.turns, turns);
        scheduler->release(share);
    }
    began.wait(2);
    task.ended = true;
    scheduler->remove(task);
}

TEST_F(SchedulerTest, PatienceWithATaskThatDoesNotStop) {
    auto scheduler = make(1);
    Share share{{}};
    Event began;
    std::atomic<bool> stubborn{true};
    TestTask task{[&](TestTask& self) {
        began.happen();
        while (stubborn) __builtin_ia32_pause();
        return self.compute();
    }};
    scheduler->add(task, share);
    scheduler->wake(task);
    began.wait();
    EXPECT_FALSE(scheduler->hold(share, 1'000'000));
    stubborn = false;
    while (!scheduler->hold(share, 1'000'000)) {
    }
    unsigned turns = task.turns;
    scheduler->wake(task);
    EXPECT_EQ(task.turns, turns);
    scheduler->release(share);
    began.wait(turns + 1);
    task.ended = true;
    scheduler->remove(task);
}

// One processor; the first waits for the second, which has less weight than a third.
TEST_F(SchedulerTest, WhoPausesGivesItsTurnToASibling) {
    auto scheduler = make(1);
    Share pair{{.weight = 1}};
    Share heavy{{.weight = 10'000}};
    std::atomic<bool> done{false};
    TestTask waits{[&](TestTask&) -> TurnResult { return {done ? TurnEnd::Ended : TurnEnd::Paused}; }};
    TestTask works{[&](TestTask&) -> TurnResult {
        done = true;
        return {TurnEnd::Ended};
    }};
    TestTask other{[&](TestTask& self) { return self.compute(); }};
    scheduler->add(waits, pair);
    scheduler->add(works, pair);
    scheduler->add(other, heavy);
    scheduler->hold(pair);
    scheduler->wake(waits);
    scheduler->wake(works);
    scheduler->wake(other);
    scheduler->release(pair);
    scheduler->remove(waits);
    scheduler->remove(works);
    other.ended = true;
    scheduler->remove(other);
}

TEST_F(SchedulerTest, CountsWhatAShareHad) {
    auto scheduler = make(1);
    Share share{{}};
    Event turns;
    TestTask task{[&](TestTask& self) {
        turns.happen();
        return self.compute();
    }};
    scheduler->add(task, share);
    scheduler->wake(task);
    turns.wait();
    ShareFigures first = scheduler->figures(share);
    EXPECT_EQ(first.running, 1u);
    EXPECT_EQ(first.active, 1u);
    while (scheduler->figures(share).ran < first.ran + 1'000'000) {
    }
    task.ended = true;
    scheduler->remove(task);
    ShareFigures last = scheduler->figures(share);
    EXPECT_EQ(last.active, 0u);
}

// As for a page from a slow disk: who waits for it does so on a thread of its own.
TEST_F(SchedulerTest, OthersRunWhileATurnWaitsForTheHost) {
    auto scheduler = make(1);
    Share one{{}};
    Share other{{}};
    Event gate;
    Event waits;
    TestTask worker{[&](TestTask& self) {
        if (self.turns == 100) gate.happen();
        return TurnResult{self.turns < 1000 ? TurnEnd::Preempted : TurnEnd::Ended};
    }};
    TestTask reader{[&](TestTask& self) {
        if (self.turns == 1) {
            scheduler->wait_begins();
            waits.happen();
            gate.wait();  // for the worker, while there is one processor for both
            scheduler->wait_ends();
        }
        return TurnResult{self.turns < 3 ? TurnEnd::Preempted : TurnEnd::Ended};
    }};
    scheduler->add(reader, one);
    scheduler->add(worker, other);
    scheduler->wake(reader);
    waits.wait();
    scheduler->wake(worker);
    scheduler->remove(worker);
    scheduler->remove(reader);
    EXPECT_EQ(reader.turns, 3u);
}

TEST_F(SchedulerTest, ManyWaitForTheHostAtOnce) {
    constexpr unsigned count = 6;
    auto scheduler = make(2);
    Share share{{}};
    Event all_wait;
    std::deque<TestTask> tasks;
    for (unsigned n = 0; n < count; ++n) {
        tasks.emplace_back([&](TestTask& self) {
            scheduler->wait_begins();
            all_wait.happen();
            all_wait.wait(count * self.turns);
            scheduler->wait_ends();
            return TurnResult{self.turns < 50 ? TurnEnd::Preempted : TurnEnd::Ended};
        });
        scheduler->add(tasks.back(), share);
    }
    for (TestTask& task : tasks) scheduler->wake(task);
    for (TestTask& task : tasks) scheduler->remove(task);
    for (TestTask& task : tasks) EXPECT_EQ(task.turns, 50u);
    scheduler->wait_begins();  // on this thread: nothing
    scheduler->wait_ends();
}

}  // namespace
}  // namespace undercroft
