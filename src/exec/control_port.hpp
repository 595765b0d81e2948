// SPDX-License-Identifier: Apache-2.0
// ControlPort: what we and the guest's first process (guest/init.c) tell each other while a command runs, in
// lines:
//
//     started                      there is a command, which gets signals
//     exit STATUS OUTPUT ERRORS    it has ended, and has written so many bytes to each
//
//     signal N                     for the command
//     size ROWS COLUMNS            of the terminal
//     bye                          all of that output has left: power off

#pragma once

#include "exec/ports.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace undercroft {

class ControlPort final : public SharedConsolePort {
public:
    // They outlive it.
    ControlPort(OutputPort& output, OutputPort& errors) : output_{output}, errors_{errors} {}

    Input input() override;
    std::size_t read(std::span<std::byte> room) override;
    Output output() override { return Output::Room; }
    void write(std::span<const std::byte> bytes) override;

    // False: there is no command, or the guest takes nothing any more.
    bool pass_on_signal(int number);
    void set_terminal_size(unsigned rows, unsigned columns);

    // Of the command, when it has ended.
    std::optional<int> status();

private:
    struct Ended {
        int status = 0;
        std::uint64_t output = 0, errors = 0;  // bytes
    };

    void hear(std::string_view line);
    void say(const std::string& line);
    bool has_stuck() const;

    OutputPort& output_;
    OutputPort& errors_;
    std::string heard_;  // of the line that is not complete
    std::string to_say_;
    std::chrono::steady_clock::time_point waits_since_;  // while that is not empty
    bool started_ = false;
    bool said_bye_ = false;
    std::optional<Ended> ended_;
};

}  // namespace undercroft
