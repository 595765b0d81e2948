// SPDX-License-Identifier: Apache-2.0
// ConsoleOutput: gathers the guest's output, so that no byte costs a host write, and loses none of it.
//
// What was appended goes out when 4 KiB have gathered, with the end of a line if nothing went out in the last
// millisecond, when the processor halts, and a millisecond after all else. When the other end takes nothing
// and `limit` bytes wait, it is_full(), and the guest has to wait for room. With nobody at the other end the
// newest `limit` bytes are kept.
//
// Nothing here blocks but finish(). append() is called under the machine's lock; settle() without it, on the
// thread that runs the vCPU; flush() on any. Lock order: machine's, then this one's.

#pragma once

#include "machine/console_backend.hpp"
#include "machine/event_loop.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace undercroft {

class ConsoleOutput {
public:
    static constexpr std::size_t batch = 4096;
    static constexpr std::size_t limit = 64 * 1024;

    // `alarm` is set when flush() shall be called.
    ConsoleOutput(ConsoleBackend& backend, Alarm& alarm) : backend_{backend}, alarm_{alarm} {}

    void append(std::span<const std::byte> bytes);
    bool owes() const {
        return owes_.load(std::memory_order_relaxed);
    }  // is there anything for settle() to do?
    void settle();
    void flush();
    // The guest shall write no more before `room` is called (see on_room()).
    bool is_full() const { return full_.load(std::memory_order_relaxed); }
    // The machine is stopping: it is not full any more, whatever waits. Output goes on as far as it does not
    // block.
    void cancel();
    using Time = std::chrono::steady_clock::time_point;
    // Waits, until then at most, for a slow other end. When the machine has ended.
    void finish(Time until);

    // A client has come, or gone: calls the backend with write() locked out.
    void accept();
    void hang_up();

    // Called once, with the reason, when output is not possible any more. Called under the lock: only take a
    // note.
    void on_failure(std::function<void(Error)> failed) { failed_ = std::move(failed); }

    // Sees all output, in order and once, whether the other end takes it or not. Called under the lock; must
    // not block. Before the guest runs.
    void on_output(std::function<void(std::span<const std::byte>)> seen) { seen_ = std::move(seen); }
    // Called when it is not full any more, by flush() and settle(), without any lock of ours.
    void on_room(std::function<void()> room) { room_ = std::move(room); }

    std::optional<Time> first_output() const;
    std::uint64_t bytes_written() const;

private:
    using Guard = std::lock_guard<std::mutex>;

    void write_out(const Guard&);
    void set_alarm(const Guard&, std::chrono::nanoseconds delay);
    std::size_t pending(const Guard&) const { return buffer_.size() - sent_; }

    ConsoleBackend& backend_;
    Alarm& alarm_;
    std::function<void(Error)> failed_;
    std::function<void(std::span<const std::byte>)> seen_;
    std::function<void()> room_ = [] {};

    std::atomic<bool> owes_{false};
    std::atomic<bool> full_{false};
    std::atomic<bool> cancelling_{false};

    mutable std::mutex mutex_;  // protects all below, and the backend's writing
    std::vector<std::byte> buffer_;
    std::size_t sent_ = 0;   // of buffer_
    std::size_t shown_ = 0;  // of buffer_, to seen_
    bool alarm_set_ = false;
    bool blocked_ = false;  // the last write was refused for now
    bool closed_ = false;
    Time last_write_{};
    std::optional<Time> first_output_;
    std::uint64_t written_ = 0;
};

}  // namespace undercroft
