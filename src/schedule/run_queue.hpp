// SPDX-License-Identifier: Apache-2.0
// RunQueue: which task runs next. Shares by weight and cap, without threads, locks or a clock of its own.
//
// Fair queueing by virtual time: a task's virtual time advances while it runs, the slower the greater the
// weight of its share and the fewer tasks of the share want to run; whoever has had least is next. Who comes
// back from waiting starts with what the others have had, less a slice, so that it runs at once but cannot
// save up. A share that cannot use its part (it has one task, and more than a processor is due to it) does
// not save up either. A cap is a budget of time that each period refills.
//
// Source: Goyal, Guo and Vin, "A hierarchical CPU scheduler for multimedia operating systems", OSDI 1996
// (start-time fair queueing).

#pragma once

#include "schedule/task.hpp"
#include "schedule/task_heap.hpp"

namespace undercroft {

class RunQueue {
public:
    struct Options {
        Nanoseconds slice = 4'000'000;    // a turn, while others want to run
        Nanoseconds period = 20'000'000;  // of caps
        // Who waits in a loop notices it the later the first time: a shorter turn was the same wait again.
        Nanoseconds least_spin = 10'000;
        Nanoseconds least_rest = 50'000;    // of a task that spins; each time twice as long, up to
        Nanoseconds most_rest = 4'000'000;  // this, or for a share of several tasks
        Nanoseconds most_rest_among = 1'000'000;
    };

    explicit RunQueue(Options options) : options_{options} {}

    // A task of the share, Waiting. Not to be called while it is in here.
    void add(Task& task, Share& share, Time now);
    void remove(Task& task);

    // A Waiting or Resting task wants to run.
    void make_ready(Task& task, Time now);
    // The next one, Running from now on, or null.
    Task* pick(Time now);
    // The same among the ready ones of `task`'s share.
    Task* pick_sibling(const Task& task, Time now);
    // The running task's turn has ended.
    void put_back(Task& task, TurnEnd end, Time deadline, Time now);
    // Is the task's share held, or past its cap?
    bool is_stopped(const Task& task) const { return is_stopped(*task.share_); }

    // Has the ready task waited for its turn long enough to end the running one's?
    bool preempts(const Task& ready, const Task& running, Time now) const;
    bool has_ready() const { return !ready_.empty(); }
    Task& first() const { return ready_.top(); }  // of the ready ones

    // When expire() has something to do.
    Time next_event() const;
    // Calls ready(task) for each task that is ready now, by its deadline or as its share may run again.
    template <class Ready>
    void expire(Time now, Ready ready);

    void hold(Share& share) { ++share.holds_; }
    template <class Ready>
    void release(Share& share, Time now, Ready ready);
    // To be followed by release(), with a hold() before it: tasks may run again.
    void set_options(Share& share, ShareOptions options, Time now);

private:
    using ReadyHeap = TaskHeap<&Task::virtual_time_, &Task::ready_index_>;
    using DeadlineHeap = TaskHeap<&Task::deadline_, &Task::deadline_index_>;

    static bool is_stopped(const Share& share) { return share.holds_ != 0 || share.throttled_; }
    static std::uint64_t by_weight(const Share& share, Nanoseconds time) {
        return time * ShareOptions{}.weight * (share.active_ > 1 ? share.active_ : 1) / share.options_.weight;
    }
    void charge(Task& task, Time now);
    Task& begin(Task& task, Time now);
    void raise_floor();
    void enqueue(Task& task, Time now);
    void set_deadline(Task& task, Time deadline);
    void refill(Share& share, Time now);
    std::int64_t quota(const Share& share) const {
        return static_cast<std::int64_t>(options_.period * share.options_.cap_percent / 100);
    }
    template <class Ready>
    void unpark(Share& share, Time now, Ready ready);

    Options options_;
    ReadyHeap ready_;
    DeadlineHeap deadlines_;
    std::vector<Share*> capped_;
    std::vector<Task*> tasks_;
    std::vector<Task*> running_;
    // The virtual time that everybody has had who runs or wants to; never less. Its beginning leaves room for
    // credit.
    std::uint64_t floor_ = 1'000'000'000;
};

template <class Ready>
void RunQueue::unpark(Share& share, Time now, Ready ready) {
    if (is_stopped(share)) return;
    for (Task* task : share.tasks_) {
        if (task->state_ != TaskState::Parked) continue;
        enqueue(*task, now);
        ready(*task);
    }
}

template <class Ready>
void RunQueue::expire(Time now, Ready ready) {
    while (!deadlines_.empty() && deadlines_.top().deadline_ <= now) {
        Task& task = deadlines_.top();
        make_ready(task, now);
        ready(task);
    }
    for (Share* share : capped_) {
        if (!share->throttled_ || share->refilled_ + options_.period > now) continue;
        refill(*share, now);
        unpark(*share, now, ready);
    }
}

template <class Ready>
void RunQueue::release(Share& share, Time now, Ready ready) {
    --share.holds_;
    unpark(share, now, ready);
}

}  // namespace undercroft
