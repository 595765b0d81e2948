// SPDX-License-Identifier: Apache-2.0
// Escape: finds the monitor's own commands in what the user types.
//
//   Ctrl-A x   end the machine        Ctrl-A c        show a status line
//   Ctrl-A h   list these keys        Ctrl-A Ctrl-A   send one Ctrl-A to the guest
//
// and, where several machines share a terminal, Ctrl-A ? (as h), Ctrl-A 1 to 9 (one machine), Ctrl-A 0 (all).
//
// Any other key after Ctrl-A goes to the guest together with the Ctrl-A.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace undercroft {

class Escape {
public:
    enum class Kind : std::uint8_t { End, Status, Help, Choose };
    struct Command {
        Kind kind;
        unsigned choice = 0;  // of Choose: the digit

        bool operator==(const Command&) const = default;
    };

    explicit Escape(unsigned machines = 1) : machines_{machines} {}

    // Appends to `guest` what is meant for the guest, and calls `command` for each command, in order.
    void filter(std::span<const std::byte> typed, std::vector<std::byte>& guest,
                const std::function<void(Command)>& command);

private:
    static constexpr std::byte prefix{0x01};  // Ctrl-A

    std::optional<Command> command_for(char key) const;

    unsigned machines_;
    bool after_prefix_ = false;
};

}  // namespace undercroft
