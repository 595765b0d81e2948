// SPDX-License-Identifier: Apache-2.0
#include "console_output.hpp"

#include "base/fd.hpp"

#include <poll.h>

#include <algorithm>

namespace undercroft {
namespace {
using namespace std::chrono_literals;
constexpr std::chrono::nanoseconds patience = 1ms;
// The other end is slow: while the guest waits for it, and while it has nothing more to say.
constexpr std::chrono::nanoseconds retry_for_guest = 500us;
constexpr std::chrono::nanoseconds retry = 10ms;
}  // namespace

void ConsoleOutput::append(std::span<const std::byte> bytes) {
    Guard lock{mutex_};
    if (bytes.empty() || (closed_ && !seen_)) return;
    if (!first_output_) first_output_ = std::chrono::steady_clock::now();
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    bool gathered = pending(lock) / batch > (pending(lock) - bytes.size()) / batch || pending(lock) >= limit;
    bool line_ended = bytes.back() == std::byte{'\n'} && !blocked_;
    if (gathered || (line_ended && std::chrono::steady_clock::now() - last_write_ >= patience)) {
        owes_.store(true, std::memory_order_relaxed);
    } else {
        set_alarm(lock, patience);
    }
}

void ConsoleOutput::set_alarm(const Guard&, std::chrono::nanoseconds delay) {
    if (alarm_set_) return;
    alarm_set_ = true;
    alarm_.set_in_ns(static_cast<std::uint64_t>(delay.count()));
}

void ConsoleOutput::write_out(const Guard& lock) {
    if (pending(lock) == 0) return;
    if (seen_) seen_(std::span{buffer_}.subspan(shown_));
    shown_ = buffer_.size();
    ConsoleBackend::Transfer done{};
    while (pending(lock) > 0 && done.state == ConsoleBackend::State::Ok && !closed_) {
        done = backend_.write(std::span{buffer_}.subspan(sent_));
        sent_ += done.bytes;
        written_ += done.bytes;
    }
    last_write_ = std::chrono::steady_clock::now();
    if (done.state == ConsoleBackend::State::Closed && !closed_) {
        closed_ = true;
        if (failed_) failed_(host_error().in("console"));
    }
    if (done.state == ConsoleBackend::State::Absent && pending(lock) > limit) sent_ = buffer_.size() - limit;
    blocked_ = done.state == ConsoleBackend::State::Blocked;
    if (closed_ || sent_ == buffer_.size()) {
        buffer_.clear();
        sent_ = shown_ = 0;
    } else if (sent_ >= limit) {
        buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(sent_));
        shown_ -= sent_;
        sent_ = 0;
    }
    full_ = blocked_ && pending(lock) >= limit && !cancelling_;
    if (blocked_) set_alarm(lock, full_ ? retry_for_guest : retry);
}

void ConsoleOutput::flush() {
    bool was_full = is_full();
    {
        Guard lock{mutex_};
        alarm_set_ = false;
        write_out(lock);
    }
    if (was_full && !is_full()) room_();
}

void ConsoleOutput::settle() {
    if (!owes()) return;
    owes_.store(false, std::memory_order_relaxed);
    flush();
}

void ConsoleOutput::cancel() {
    cancelling_ = true;
    full_ = false;
}

void ConsoleOutput::finish(Time until) {
    for (;;) {
        {
            Guard lock{mutex_};
            write_out(lock);
            if (pending(lock) == 0 || closed_) return;
        }
        if (backend_.output() < 0 || std::chrono::steady_clock::now() >= until) return;
        pollfd wait{.fd = backend_.output(), .events = POLLOUT, .revents = 0};
        poll(&wait, 1, 100);
    }
}

void ConsoleOutput::accept() {
    Guard lock{mutex_};
    backend_.accept();
    write_out(lock);
}

void ConsoleOutput::hang_up() {
    {
        Guard lock{mutex_};
        backend_.hang_up();
        blocked_ = false;
    }
    flush();
}

std::optional<ConsoleOutput::Time> ConsoleOutput::first_output() const {
    Guard lock{mutex_};
    return first_output_;
}

std::uint64_t ConsoleOutput::bytes_written() const {
    Guard lock{mutex_};
    return written_;
}

}  // namespace undercroft
