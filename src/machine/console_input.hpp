// SPDX-License-Identifier: Apache-2.0
// ConsoleInput: what was typed and the guest's UART has not taken yet, and how fast it gets it.
//
// A UART in a real machine fills at the speed of its line. Ours could fill as fast as the guest's interrupt
// handler empties it: the handler would never end, nobody would read, and the guest's terminal layer, whose
// buffer holds 64 KiB, would drop what comes on top. So input flows on credit: `credit` bytes, and as many
// again when the processor halts (then all who wanted to read have read) or, for a guest that is busy, after
// `patience`.
//
// feed() and renew() are called under the machine's lock, push() on the event loop's thread without it.

#pragma once

#include "machine/event_loop.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

namespace undercroft {

class ConsoleInput {
public:
    static constexpr std::size_t capacity = 64 * 1024;
    static constexpr std::size_t credit = 8 * 1024;
    static constexpr std::chrono::milliseconds patience{50};

    // `alarm` is set when renew() and feed() shall be called, `room` is rung when push() said no and may be
    // called again.
    ConsoleInput(Alarm& alarm, Doorbell& room) : alarm_{alarm}, room_{room} {}

    // Takes all bytes. False: read no more before `room` rings.
    bool push(std::span<const std::byte> bytes);

    // Offers bytes to `receive`, which says how many it took, until it takes none or there are none.
    void feed(const std::function<std::size_t(std::span<const std::byte>)>& receive);
    void renew();

private:
    Alarm& alarm_;
    Doorbell& room_;

    std::mutex mutex_;  // protects all below; taken after the machine's
    std::vector<std::byte> buffer_;
    std::size_t taken_ = 0;  // of buffer_
    std::size_t credit_ = credit;
    bool refused_ = false;
    bool alarm_set_ = false;
};

}  // namespace undercroft
