// SPDX-License-Identifier: Apache-2.0
// Processor: a host thread on which the monitor runs vCPUs, and how it sleeps while there are none to run.

#pragma once

#include "base/polling.hpp"
#include "schedule/task.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

namespace undercroft {

class Processor {
public:
    // `body` is the thread's, and returns when it shall end.
    explicit Processor(std::function<void(Processor&)> body);
    Processor(const Processor&) = delete;
    Processor& operator=(const Processor&) = delete;
    ~Processor() { thread_.join(); }

    // On its thread: until wake(), which may have come before, or `until`. May return early.
    void sleep(Time until) noexcept;
    void wake() noexcept;  // any thread

private:
    friend class Scheduler;

    // --- the scheduler's
    Task* task_ = nullptr;  // that runs here
    bool waits_ = false;    // for the host, in the middle of its turn
    Time sleeps_until_ = never;

    enum Sleep : std::uint32_t { Awake, Asleep, Woken };  // Asleep: who wakes it has to tell the host

    Polling polling_;
    std::atomic<std::uint32_t> sleep_{Awake};
    std::thread thread_;
};

}  // namespace undercroft
