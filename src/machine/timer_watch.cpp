// SPDX-License-Identifier: Apache-2.0
#include "timer_watch.hpp"

namespace undercroft {

void TimerWatch::set_alarm() noexcept {
    auto deadline = apic_.next_deadline_ticks();
    if (halted_ || !deadline || *deadline >= alarm_at_) return;
    alarm_at_ = *deadline;
    std::uint64_t now = clock_.ticks();
    alarm_.set_in_ns(*deadline > now ? clock_.host_ns(*deadline - now) : 0);
}

void TimerWatch::changed() noexcept { set_alarm(); }

void TimerWatch::rang() {
    alarm_at_ = never;
    apic_.run_timer();
    set_alarm();
}

std::optional<std::uint64_t> TimerWatch::halt() noexcept {
    halted_ = true;
    if (alarm_at_ != never) alarm_.clear();
    alarm_at_ = never;
    return apic_.next_deadline_ticks();
}

void TimerWatch::resume() {
    halted_ = false;
    apic_.run_timer();
    set_alarm();
}

}  // namespace undercroft
