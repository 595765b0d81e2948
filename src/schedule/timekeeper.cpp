// SPDX-License-Identifier: Apache-2.0
#include "schedule/timekeeper.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace undercroft {
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
    itimerspec when{};  // all zero stops the timer
    if (at != never) when.it_value = timespec_of(std::max<Time>(at, 1));
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Timekeeper::wait() {
    std::uint64_t times = 0;
    while (read(timer_.get(), &times, sizeof times) == sizeof times || errno == EINTR) {
        if (stopping_) return;
        rang_();
    }
}

}  // namespace undercroft
