// SPDX-License-Identifier: Apache-2.0
// Polling: a thread that waits for another one looks for a while, again and again, before it sleeps. To wake
// a sleeper takes the host some 30 us where its processors are idle, which is longer than many a wait.
//
// It yields between two looks, so whoever has work goes first: then the while has passed with one look or
// two. The next polls after one in vain are left out, each time twice as many, so that they cost next to
// nothing where waits are long or the host is busy.

#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

namespace undercroft {

class Polling {
public:
    // Times are in nanoseconds.
    explicit Polling(std::uint64_t longest) : longest_{longest} {}

    // Whether it has come, within that time or before `until` by the clock `now`. Calls `come` at least once.
    template <class Come, class Now>
    bool wait(Come come, std::uint64_t until, Now now) noexcept {
        if (come()) return true;
        if (left_out_ > 0) {
            --left_out_;
            return false;
        }
        std::uint64_t begin = now();
        for (std::uint64_t time = begin; time < until && time - begin < longest_; time = now()) {
            sched_yield();
            if (come()) {
                leave_out_ = 0;
                return true;
            }
        }
        leave_out_ = std::min(2 * leave_out_ + 1, most_left_out);
        left_out_ = leave_out_;
        return false;
    }
    template <class Come>
    bool wait(Come come) noexcept {
        auto now = [] {
            return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
        };
        return wait(come, std::numeric_limits<std::uint64_t>::max(), now);
    }

private:
    static constexpr unsigned most_left_out = 63;

    std::uint64_t longest_;
    unsigned leave_out_ = 0;  // after the last one in vain
    unsigned left_out_ = 0;   // still to be left out
};

}  // namespace undercroft
