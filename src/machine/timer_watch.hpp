// SPDX-License-Identifier: Apache-2.0
// TimerWatch: sees to it that the local APIC's timer fires when it is due.
//
// While the guest runs, an Alarm on the event loop's thread does; while it is halted, an idle processor waits
// for the deadline by itself, which saves a hop between host threads (5 to 10 us) and leaves the event loop
// asleep. The alarm is only ever set to an earlier time: one that rings too early finds nothing due and is
// set again.
//
// All members are called under the machine's lock.

#pragma once

#include "base/clock.hpp"
#include "device/local_apic.hpp"
#include "machine/event_loop.hpp"

#include <cstdint>
#include <limits>
#include <optional>

namespace undercroft {

class TimerWatch {
public:
    TimerWatch(LocalApic& apic, const Clock& clock, Alarm& alarm)
        : apic_{apic}, clock_{clock}, alarm_{alarm} {}

    void changed() noexcept;  // the APIC's next deadline is another one
    void rang();              // the alarm did

    // The scheduler takes over. When it has to call resume(), in the clock's ticks; nothing: no timer
    // runs.
    std::optional<std::uint64_t> halt() noexcept;
    void resume();  // fires what is due

private:
    static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

    void set_alarm() noexcept;

    LocalApic& apic_;
    const Clock& clock_;
    Alarm& alarm_;
    std::uint64_t alarm_at_ = never;
    bool halted_ = false;
};

}  // namespace undercroft
