// SPDX-License-Identifier: Apache-2.0
// Console: the far end of the machine's serial line, wherever it goes. Outlives machines: a reboot keeps it.
//
// Everything here but output() and input() belongs to the event loop's thread.

#pragma once

#include "machine/console_backend.hpp"
#include "machine/console_input.hpp"
#include "machine/console_output.hpp"
#include "machine/escape.hpp"
#include "machine/event_loop.hpp"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace undercroft {

class Console {
public:
    // "stdio", "file:PATH" or "unix:PATH". The console waits for input on `loop`, which outlives it.
    static Result<std::unique_ptr<Console>> open(const std::string& where, EventLoop& loop);
    static Result<std::unique_ptr<Console>> open(std::unique_ptr<ConsoleBackend> backend, EventLoop& loop);
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;
    ~Console();

    ConsoleOutput& output() { return output_; }
    ConsoleInput& input() { return input_; }

    // Called when input().feed() should be; without any lock held.
    void on_input(std::function<void()> arrived) { arrived_ = std::move(arrived); }
    void on_command(std::function<void(Escape::Command)> command) { command_ = std::move(command); }

    // As if typed at the other end. False: no more before `room` was called, which need not come.
    bool type(std::span<const std::byte> bytes);
    void on_room(std::function<void()> room) { room_ = std::move(room); }

    // A line of the monitor's own for the person at the console (on standard error).
    static void notice(std::string_view text);

private:
    struct Bells {
        Alarm flush;
        Alarm credit;
        Doorbell room;
    };

    Console(EventLoop& loop, std::unique_ptr<ConsoleBackend> backend, Bells bells);
    void watch_input();
    void watch_listener();
    void read_input();

    EventLoop& loop_;
    std::unique_ptr<ConsoleBackend> backend_;
    Bells bells_;
    ConsoleOutput output_;
    ConsoleInput input_;
    Escape escape_;
    std::function<void()> arrived_ = [] {};
    std::function<void(Escape::Command)> command_ = [](Escape::Command) {};
    std::function<void()> room_ = [] {};
};

}  // namespace undercroft
