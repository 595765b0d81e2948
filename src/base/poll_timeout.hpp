// SPDX-License-Identifier: Apache-2.0
// A point in time as poll(2) wants it.

#pragma once

#include <algorithm>
#include <chrono>

namespace undercroft {

// In milliseconds; zero if it is past. Not more than a minute, so whoever waits looks again.
inline int poll_timeout(std::chrono::steady_clock::time_point until) {
    auto now = std::chrono::steady_clock::now();
    if (until <= now) return 0;
    auto left = std::min<std::chrono::nanoseconds>(until - now, std::chrono::minutes{1});
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

}  // namespace undercroft
