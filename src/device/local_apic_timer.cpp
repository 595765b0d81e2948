// SPDX-License-Identifier: Apache-2.0
// The local APIC's timer (Intel SDM vol. 3A section 11.5.4).
//
// An expiry is kept as nanoseconds after the start of the count, so that a periodic timer does not drift by
// the rounding of its period to ticks.
#include "local_apic.hpp"

namespace undercroft {
namespace {

// A guest may ask for a period of a few nanoseconds; it gets as many interrupts as a host can deliver.
constexpr std::uint64_t least_period_ns = 20'000;

}  // namespace

std::optional<std::uint64_t> LocalApic::next_deadline_ticks() const {
    if ((lvt(ApicRegister::LVT_Timer) & LVT::Mask) != 0) return {};
    if (state_.tsc_deadline != 0) return state_.tsc_deadline;
    // One tick more than the rounded-down conversion: by then the nanoseconds have certainly passed.
    if (state_.counting) return state_.count_start + clock_.from_ns(state_.expiry_ns) + 1;
    return {};
}

void LocalApic::run_timer() {
    if (state_.tsc_deadline != 0 && clock_.ticks() >= state_.tsc_deadline) {
        auto before = next_deadline_ticks();
        state_.tsc_deadline = 0;
        fire(ApicRegister::LVT_Timer);
        notice_timer(before);
    }
    if (!state_.counting) return;
    std::uint64_t elapsed = elapsed_ns();
    if (elapsed < state_.expiry_ns) return;
    auto before = next_deadline_ticks();
    if (timer_mode() == ApicTimerMode::Periodic) {
        // Expiries that nobody was there to see are one interrupt: IRR has one bit.
        std::uint64_t period = std::uint64_t{state_.initial_count} * divisor();
        std::uint64_t over = elapsed - state_.expiry_ns + (period < least_period_ns ? least_period_ns : 0);
        state_.expiry_ns += (over / period + 1) * period;
    } else {
        state_.counting = false;
    }
    fire(ApicRegister::LVT_Timer);
    notice_timer(before);
}

void LocalApic::count_from(std::uint64_t count) {
    state_.counting = count != 0;
    state_.count_start = clock_.ticks();
    state_.expiry_ns = count * divisor();
}

void LocalApic::stop_timer() {
    state_.counting = false;
    state_.initial_count = 0;
    state_.tsc_deadline = 0;
}

std::uint32_t LocalApic::current_count() const {
    if (!state_.counting) return 0;
    std::uint64_t elapsed = elapsed_ns();
    std::uint64_t period = std::uint64_t{state_.initial_count} * divisor();
    std::uint64_t remaining = 0;
    if (elapsed < state_.expiry_ns) {
        remaining = state_.expiry_ns - elapsed;
        if (remaining > period) remaining = (remaining - 1) % period + 1;
    } else if (timer_mode() == ApicTimerMode::Periodic) {
        remaining = period - (elapsed - state_.expiry_ns) % period;
    }
    return static_cast<std::uint32_t>((remaining + divisor() - 1) / divisor());
}

void LocalApic::write_initial_count(std::uint32_t value) {
    if (timer_mode() == ApicTimerMode::TscDeadline) return;
    auto before = next_deadline_ticks();
    run_timer();
    state_.initial_count = value;
    count_from(value);
    notice_timer(before);
}

void LocalApic::write_divide_configuration(std::uint32_t value) {
    auto before = next_deadline_ticks();
    run_timer();
    std::uint64_t rest = current_count();
    state_.divide_configuration = value & 0xb;
    if (state_.counting) count_from(rest);
    notice_timer(before);
}

// Between one-shot and periodic the count goes on; to and from TSC-deadline mode the timer is disarmed.
void LocalApic::write_timer_lvt(std::uint32_t value) {
    auto before = next_deadline_ticks();
    run_timer();
    bool was_deadline = timer_mode() == ApicTimerMode::TscDeadline;
    state_.lvt[lvt_index(ApicRegister::LVT_Timer)] = value;
    if (was_deadline != (timer_mode() == ApicTimerMode::TscDeadline)) stop_timer();
    notice_timer(before);
}

void LocalApic::write_tsc_deadline(std::uint64_t value) {
    if (timer_mode() != ApicTimerMode::TscDeadline) return;
    auto before = next_deadline_ticks();
    run_timer();
    state_.tsc_deadline = value;
    run_timer();
    notice_timer(before);
}

void LocalApic::notice_timer(std::optional<std::uint64_t> before) {
    if (next_deadline_ticks() != before) outputs_.timer_changed();
}

}  // namespace undercroft
