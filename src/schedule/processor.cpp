// SPDX-License-Identifier: Apache-2.0
#include "schedule/processor.hpp"

#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#include <utility>

namespace undercroft {
namespace {

// Below this a context switch of the host costs more than it gives.
constexpr Nanoseconds spin = 15'000;
// As long as a device takes for a small request.
constexpr Nanoseconds poll = 40'000;

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t) &&
                  std::atomic<std::uint32_t>::is_always_lock_free,
              "the host waits on it");

void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) {
    syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr,
            FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

Processor::Processor(std::function<void(Processor&)> body)
    : polling_{poll}, thread_{[this, body = std::move(body)] {
          prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul,
                0ul);  // the ends of its sleeps are not rounded up (by 50 us)
          body(*this);
      }} {}

void Processor::sleep(Time until) noexcept {
    auto woken = [this] { return sleep_.load(std::memory_order_acquire) == Woken; };
    std::uint32_t awake = Awake;
    if (!polling_.wait(woken, until, time_now)) sleep_.compare_exchange_strong(awake, Asleep);
    for (Time now = time_now(); !woken() && now < until; now = time_now()) {
        if (until == never) {
            futex(sleep_, FUTEX_WAIT_BITSET, Asleep, nullptr);
        } else if (until - now > spin) {
            // The wait is by the same clock, up to an absolute time.
            timespec timeout = timespec_of(until);
            futex(sleep_, FUTEX_WAIT_BITSET, Asleep, &timeout);
        } else {
            __builtin_ia32_pause();
        }
    }
    sleep_.store(Awake, std::memory_order_relaxed);
}

void Processor::wake() noexcept {
    if (sleep_.exchange(Woken, std::memory_order_acq_rel) == Asleep) futex(sleep_, FUTEX_WAKE, 1, nullptr);
}

}  // namespace undercroft
