// SPDX-License-Identifier: Apache-2.0
// What the scheduler knows of what it runs: a Task is one vCPU, a Share is one machine.
//
// Times are nanoseconds of the host's monotonic clock (Time), or lengths in nanoseconds. Members marked so
// belong to the scheduler, which touches them under its lock.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <limits>
#include <vector>

namespace undercroft {

class Processor;
class Task;

using Nanoseconds = std::uint64_t;
using Time = std::uint64_t;
inline constexpr Time never = std::numeric_limits<Time>::max();

inline Time time_now() {
    return static_cast<Time>(std::chrono::steady_clock::now().time_since_epoch().count());
}
// As the host's calls want it, by CLOCK_MONOTONIC.
inline timespec timespec_of(Time time) {
    constexpr Time second = 1'000'000'000;
    return {.tv_sec = static_cast<time_t>(time / second), .tv_nsec = static_cast<long>(time % second)};
}

// Of one machine: how much of the processors it gets while others want them, too.
struct ShareOptions {
    static constexpr unsigned most_weight = 10'000;
    static constexpr unsigned most_cap = 6400;
    unsigned weight = 100;     // 1 to most_weight
    unsigned cap_percent = 0;  // of one processor, at most; zero: no cap
};

class Share {
public:
    explicit Share(ShareOptions options) : options_{options} {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

private:
    friend class RunQueue;
    friend class Scheduler;

    // --- the scheduler's
    ShareOptions options_;
    std::vector<Task*> tasks_;
    unsigned active_ = 0;  // tasks that run or want to
    unsigned running_ = 0;
    unsigned holds_ = 0;       // see Scheduler::hold()
    std::int64_t budget_ = 0;  // ns until the cap is reached in this period; less than zero: it was passed
    Time refilled_ = 0;        // when the budget's present period began
    bool throttled_ = false;   // no budget
};

// Why a task's turn ended.
enum class TurnEnd : std::uint8_t {
    Preempted,  // as preempt() asked, or for a reason of its own: it wants to go on
    Paused,     // it probably waits for another task of its share: that one, or others, first
    Spins,      // it waits in a loop for memory to change or for wake()
    Waits,      // until wake() or its deadline
    Ended,      // never to run again
};

struct TurnResult {
    TurnEnd end = TurnEnd::Preempted;
    Time deadline = never;  // of Waits
};

enum class TaskState : std::uint8_t {
    New,
    Waiting,
    Resting,  // it spins: waits, for a short time
    Ready,    // waits for a processor
    Parked,   // ready, and its share must not run
    Running,
    Ended,
};

class Task {
public:
    Task() = default;
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    virtual ~Task() = default;

    // A turn, on a processor's thread. Between two turns another thread may take over.
    virtual TurnResult run() = 0;
    // Under the scheduler's lock, on any thread: the running turn shall end soon. May be called when it is
    // just about to end, or for nothing; forget_preempt() comes before each turn.
    virtual void preempt() noexcept = 0;
    virtual void forget_preempt() noexcept = 0;
    // Under the scheduler's lock: has something come that a waiting task is to run for? Whatever makes it
    // true is followed by Scheduler::wake().
    virtual bool is_ready() const noexcept = 0;

protected:
    // In a turn: the time until then that it wanted to run and did not.
    Nanoseconds stolen() const { return stolen_; }

private:
    friend class RunQueue;
    friend class Scheduler;
    template <auto Key, auto Index>
    friend class TaskHeap;

    static constexpr std::size_t nowhere = ~std::size_t{0};

    // --- the scheduler's
    Share* share_ = nullptr;
    TaskState state_ = TaskState::New;
    std::uint64_t virtual_time_ = 0;     // what it has had, by weight
    std::size_t ready_index_ = nowhere;  // in the heap of those who want to run
    Time deadline_ = never;
    std::size_t deadline_index_ = nowhere;
    Processor* processor_ = nullptr;  // where it runs, or ran last
    Time since_ = 0;                  // of the state Running or Ready
    Time slice_end_ = 0;
    Nanoseconds rest_ = 0;  // how long it rests the next time it spins
    Nanoseconds ran_ = 0;
    Nanoseconds stolen_ = 0;  // wanted to run and did not
    std::uint64_t turns_ = 0;
};

}  // namespace undercroft
