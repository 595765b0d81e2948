// SPDX-License-Identifier: Apache-2.0
#include "halt.hpp"

#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <ctime>

namespace undercroft {
namespace {

// Below this a host context switch costs more than it gives.
constexpr std::uint64_t spin_ns = 15'000;

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t) &&
                  std::atomic<std::uint32_t>::is_always_lock_free,
              "the futex word is the attention word");

void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) {
    syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr, 0);
}

}  // namespace

void Halt::wake() noexcept {
    if (sleeping_) futex(vcpu_.attention, FUTEX_WAKE, 1, nullptr);
}

void Halt::sleep(std::optional<std::uint64_t> deadline) noexcept {
    if (!deadline) return futex(vcpu_.attention, FUTEX_WAIT, 0, nullptr);
    std::uint64_t now = clock_.ticks();
    std::uint64_t ns = *deadline > now ? clock_.host_ns(*deadline - now) : 0;
    if (ns > spin_ns) {
        timespec timeout{.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
                         .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
        return futex(vcpu_.attention, FUTEX_WAIT, 0, &timeout);
    }
    while (clock_.ticks() < *deadline && vcpu_.attention.load(std::memory_order_relaxed) == 0) {
        __builtin_ia32_pause();
    }
}

void ask_for_precise_sleep() noexcept { prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul); }

}  // namespace undercroft
