// SPDX-License-Identifier: Apache-2.0
// SpinLock: for a few instructions at a time, where a thread may hold vector state that a library call would
// destroy. Whoever holds it may have been preempted, so those who wait yield after a while.

#pragma once

#include <sched.h>

#include <atomic>

namespace undercroft {

class SpinLock {
public:
    void lock() noexcept {
        for (unsigned tries = 0; held_.exchange(true, std::memory_order_acquire); ++tries) {
            while (held_.load(std::memory_order_relaxed)) {
                if (++tries % spins == 0) sched_yield();
                __builtin_ia32_pause();
            }
        }
    }
    void unlock() noexcept { held_.store(false, std::memory_order_release); }

private:
    static constexpr unsigned spins = 100;

    std::atomic<bool> held_{false};
};

}  // namespace undercroft
