// SPDX-License-Identifier: Apache-2.0
#include "schedule/timekeeper.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace undercroft {
namespace {

// It runs for some microseconds and is in a hurry, since it ends the turns of threads that compute. The host
// gives processors to short requests first (Linux 6.12 and later; others ignore it).
void ask_for_short_slices() noexcept {
    struct {  // struct sched_attr, which the C library's headers do not have beside their own
        std::uint32_t size = 48;
        std::uint32_t policy = SCHED_OTHER;
        std::uint64_t flags = 0;
        std::int32_t nice = 0;
        std::uint32_t priority = 0;
        std::uint64_t runtime = 100'000;  // ns of a slice; the least there is
        std::uint64_t deadline = 0;
        std::uint64_t period = 0;
    } attributes;
    static_assert(sizeof attributes == 48, "SCHED_ATTR_SIZE_VER0");
    attributes.nice = getpriority(PRIO_PROCESS, 0);
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

Result<std::unique_ptr<Timekeeper>> Timekeeper::create(std::function<void()> rang) {
    Fd timer{timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
    if (!timer) return host_error().in("timerfd");
    return std::unique_ptr<Timekeeper>{new Timekeeper{std::move(timer), std::move(rang)}};
}

Timekeeper::Timekeeper(Fd timer, std::function<void()> rang)
    : timer_{std::move(timer)}, rang_{std::move(rang)}, thread_{[this] { wait(); }} {}

Timekeeper::~Timekeeper() {
    stopping_ = true;
    set(0);
    thread_.join();
}

void Timekeeper::set(Time at) noexcept {
    constexpr Time second = 1'000'000'000;
    itimerspec when{};  // all zero stops the timer
    if (at != never) {
        at = std::max<Time>(at, 1);
        when.it_value = {.tv_sec = static_cast<time_t>(at / second),
                         .tv_nsec = static_cast<long>(at % second)};
    }
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Timekeeper::wait() {
    ask_for_short_slices();
    std::uint64_t times = 0;
    while (read(timer_.get(), &times, sizeof times) == sizeof times || errno == EINTR) {
        if (stopping_) return;
        rang_();
    }
}

}  // namespace undercroft
