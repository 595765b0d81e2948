// SPDX-License-Identifier: Apache-2.0
// Where a machine's console goes: stdio, file:PATH or unix:PATH. Neither reading nor writing ever blocks.
//
// Threads: read(), accept() and the descriptors to wait for belong to the event loop; write() to whoever
// holds the lock of ConsoleOutput; accept() and hang_up() need both.

#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace undercroft {

class ConsoleBackend {
public:
    enum class State : std::uint8_t {
        Ok,
        Blocked,  // nothing more for now
        Absent,   // nobody at the other end; somebody may come
        Closed,   // for good: end of input, or an error for which errno is set
    };
    struct Transfer {
        std::size_t bytes = 0;
        State state = State::Ok;
    };

    // "stdio", "file:PATH", "unix:PATH". Errors name the console and the reason.
    static Result<std::unique_ptr<ConsoleBackend>> open(const std::string& where);

    ConsoleBackend(const ConsoleBackend&) = delete;
    ConsoleBackend& operator=(const ConsoleBackend&) = delete;
    virtual ~ConsoleBackend() = default;

    virtual Transfer write(std::span<const std::byte> bytes) noexcept = 0;
    virtual Transfer read(std::span<std::byte> bytes) noexcept = 0;

    // Descriptors to wait for, or -1. accept() and hang_up() change them.
    virtual int input() const noexcept { return -1; }
    virtual int output() const noexcept { return -1; }
    virtual int listener() const noexcept { return -1; }
    virtual void accept() noexcept {}
    virtual void hang_up() noexcept {}

    // A person types here: look for the monitor's own keys.
    virtual bool is_interactive() const noexcept { return false; }

protected:
    ConsoleBackend() = default;
};

}  // namespace undercroft
