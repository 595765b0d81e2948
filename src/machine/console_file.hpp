// SPDX-License-Identifier: Apache-2.0
// Consoles on plain descriptors: our own standard input and output, or a file that takes the output.

#pragma once

#include "base/fd.hpp"
#include "machine/console_backend.hpp"

namespace undercroft {

// Standard input may be a terminal, a pipe, a file or empty; its end ends the input, not the machine. The
// program has opened the standard descriptors if they were closed.
class StdioConsole final : public ConsoleBackend {
public:
    static Result<std::unique_ptr<ConsoleBackend>> open();
    ~StdioConsole() override;  // gives the terminal back

    Transfer write(std::span<const std::byte> bytes) noexcept override;
    Transfer read(std::span<std::byte> bytes) noexcept override;
    int input() const noexcept override { return input_open_ ? input_fd_ : -1; }
    int output() const noexcept override { return output_fd_; }
    bool is_interactive() const noexcept override { return interactive_; }

private:
    StdioConsole() = default;

    // O_NONBLOCK belongs to the open file, which we share with whoever started us and must not change: these
    // hold a second opening of the same terminal or pipe, where there is one.
    Fd own_input_;
    Fd own_output_;
    int input_fd_ = -1;
    int output_fd_ = -1;
    bool input_open_ = true;
    bool interactive_ = false;
};

class FileConsole final : public ConsoleBackend {
public:
    static Result<std::unique_ptr<ConsoleBackend>> open(const std::string& path);

    Transfer write(std::span<const std::byte> bytes) noexcept override;
    Transfer read(std::span<std::byte>) noexcept override { return {.bytes = 0, .state = State::Closed}; }
    int output() const noexcept override { return file_.get(); }

private:
    FileConsole() = default;

    Fd file_;
};

}  // namespace undercroft
