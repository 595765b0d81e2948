// SPDX-License-Identifier: Apache-2.0
#include "exec/control_port.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace undercroft {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t longest_line = 64;
// A guest that has not read a line for so long is dead.
constexpr std::chrono::seconds patience{2};

// The next number of a line, which a space or its end follows.
std::optional<std::uint64_t> take_number(std::string_view& line) {
    std::uint64_t value = 0;
    auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    if (error != std::errc{}) return std::nullopt;
    line.remove_prefix(static_cast<std::size_t>(end - line.data()));
    if (line.empty()) return value;
    if (line.front() != ' ') return std::nullopt;
    line.remove_prefix(1);
    return value;
}

}  // namespace

ConsolePort::Input ControlPort::input() {
    std::lock_guard lock{mutex_};
    if (ended_ && !said_bye_ && output_.has_passed_on(ended_->output) &&
        errors_.has_passed_on(ended_->errors)) {
        said_bye_ = true;
        say("bye\n");
    }
    return to_say_.empty() ? Input::Nothing : Input::Bytes;
}

std::size_t ControlPort::read(std::span<std::byte> room) {
    std::lock_guard lock{mutex_};
    std::size_t count = std::min(room.size(), to_say_.size());
    std::copy_n(std::as_bytes(std::span{to_say_}).begin(), count, room.begin());
    to_say_.erase(0, count);
    return count;
}

void ControlPort::write(std::span<const std::byte> bytes) {
    std::lock_guard lock{mutex_};
    for (std::byte byte : bytes) {
        char letter = static_cast<char>(byte);
        if (letter == '\n') {
            hear(std::exchange(heard_, {}));
        } else if (heard_.size() < longest_line) {
            heard_ += letter;
        }
    }
}

void ControlPort::hear(std::string_view line) {
    if (line == "started") started_ = true;
    constexpr std::string_view exit = "exit ";
    if (!line.starts_with(exit) || ended_) return;
    line.remove_prefix(exit.size());
    auto status = take_number(line);
    auto output = take_number(line);
    auto errors = take_number(line);
    if (status && *status <= 255 && output && errors && line.empty())
        ended_ = {static_cast<int>(*status), *output, *errors};
}

void ControlPort::say(const std::string& line) {
    if (to_say_.empty()) waits_since_ = SteadyClock::now();
    to_say_ += line;
}

bool ControlPort::has_stuck() const {
    return !to_say_.empty() && SteadyClock::now() - waits_since_ > patience;
}

bool ControlPort::pass_on_signal(int number) {
    std::lock_guard lock{mutex_};
    if (!started_ || ended_ || has_stuck()) return false;
    say(fmt::format("signal {}\n", number));
    wake_();
    return true;
}

void ControlPort::set_terminal_size(unsigned rows, unsigned columns) {
    std::lock_guard lock{mutex_};
    if (!started_ || ended_ || has_stuck()) return;
    say(fmt::format("size {} {}\n", rows, columns));
    wake_();
}

std::optional<int> ControlPort::status() {
    std::lock_guard lock{mutex_};
    if (!ended_) return std::nullopt;
    return ended_->status;
}

}  // namespace undercroft
