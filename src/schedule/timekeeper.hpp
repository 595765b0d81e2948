// SPDX-License-Identifier: Apache-2.0
// Timekeeper: a thread that calls back at a time, for the hours when every processor is busy.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"
#include "schedule/task.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

namespace undercroft {

class Timekeeper {
public:
    // Calls `rang` on its thread.
    static Result<std::unique_ptr<Timekeeper>> create(std::function<void()> rang);
    Timekeeper(const Timekeeper&) = delete;
    Timekeeper& operator=(const Timekeeper&) = delete;
    ~Timekeeper();

    // Any thread, one at a time; a host call. Replaces the time that was set before; never: none.
    void set(Time at) noexcept;

private:
    Timekeeper(Fd timer, std::function<void()> rang);
    void wait();

    Fd timer_;
    std::function<void()> rang_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace undercroft
