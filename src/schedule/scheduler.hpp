// SPDX-License-Identifier: Apache-2.0
// Scheduler: runs the vCPUs of all machines on a few host threads, the processors.
//
// A machine switch is the end of one task's turn and the beginning of another's, on the same thread: a vCPU
// whose engine has returned is at rest, so nothing has to be saved that is not in it, and the host's kernel
// has no part in it. What is left is a lock, a look at the clock, and a RunQueue's choice.
//
// One lock protects everything, and is held for some hundred nanoseconds at a time. It is an inner lock:
// wake() may be called with any of a machine's locks held, and no task is called with it but for its three
// small members that say so. While a turn has to wait for the host (WaitObserver), another thread takes the
// processor's place; when it goes on there is one too many, until the end of some turn. Who waits for time:
// an idle processor by itself, which costs no hop between threads; only while all are busy a Timekeeper does.

#pragma once

#include "base/result.hpp"
#include "base/wait_observer.hpp"
#include "schedule/processor.hpp"
#include "schedule/run_queue.hpp"
#include "schedule/timekeeper.hpp"

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace undercroft {

// Processors of the host that this process may use.
unsigned host_processors();

struct ShareFigures {
    Nanoseconds ran = 0;
    Nanoseconds stolen = 0;  // wanted to run, and others did
    std::uint64_t turns = 0;
    unsigned running = 0;  // tasks, now
    unsigned active = 0;   // that run or want to
};

class Scheduler final : public WaitObserver {
public:
    struct Options {
        unsigned processors = host_processors();
        RunQueue::Options queue{};
        // Around everything that a processor's thread does.
        std::function<void(const std::function<void()>&)> on_thread = [](const auto& body) { body(); };
    };

    static Result<std::unique_ptr<Scheduler>> create(Options options);
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;
    ~Scheduler();  // after all tasks were removed

    // The task waits for the first wake().
    void add(Task& task, Share& share);
    // Any thread. It runs soon if it waits or rests; else nothing happens.
    void wake(Task& task) noexcept;
    // Waits until the task has ended, unless it has never run. Not on a processor's thread.
    void remove(Task& task);

    // Nothing of the share runs from then on until release() was called as often. Not on a processor's
    // thread.
    void hold(Share& share);
    // The same, unless its tasks take longer than that to stop: false, and nothing is held.
    [[nodiscard]] bool hold(Share& share, Nanoseconds patience);
    void release(Share& share);

    ShareFigures figures(const Share& share) const;

    // In a turn. Of other threads nothing is noted.
    void wait_begins() noexcept override;
    void wait_ends() noexcept override;

private:
    using Lock = std::unique_lock<std::mutex>;

    explicit Scheduler(Options options);
    void serve(Processor& self);
    void begin_hold(Share& share);
    void end_hold(Share& share);
    Task* end_turn(Processor& self, Task& task, TurnResult result, Time now);
    void idle(Processor& self, Lock& lock);
    void park(Processor& self, Lock& lock, Time now);
    void add_processor();
    Processor* processor_of_this_thread();
    std::size_t working() const { return processors_.size() - waiting_ - parked_.size(); }
    void offer(Task& task, Time now);
    void watch_time();
    void time_has_come();  // on the Timekeeper's thread

    Options options_;
    mutable std::mutex mutex_;         // protects all below
    std::condition_variable stopped_;  // a share that is held has stopped, or a task has ended
    RunQueue queue_;
    bool ending_ = false;
    unsigned tasks_ = 0;
    std::vector<Processor*> idle_;         // who went to sleep last comes last
    unsigned waiting_ = 0;                 // processors, for the host
    std::vector<Processor*> parked_;       // that have stood in for them
    Processor* waits_for_time_ = nullptr;  // one of the idle
    Time alarm_ = never;
    std::unique_ptr<Timekeeper> timekeeper_;
    std::vector<std::unique_ptr<Processor>> processors_;  // made as tasks come
};

}  // namespace undercroft
