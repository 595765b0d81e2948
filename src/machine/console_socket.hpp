// SPDX-License-Identifier: Apache-2.0
// A console on a listening Unix socket: one client at a time, who may go and come back. Others wait in the
// backlog.
//
// The socket's file is made by open() and removed by the destructor; a path that exists already is refused.

#pragma once

#include "base/fd.hpp"
#include "machine/console_backend.hpp"

namespace undercroft {

class SocketConsole final : public ConsoleBackend {
public:
    static Result<std::unique_ptr<ConsoleBackend>> open(const std::string& path);
    ~SocketConsole() override;

    Transfer write(std::span<const std::byte> bytes) noexcept override;
    Transfer read(std::span<std::byte> bytes) noexcept override;
    int input() const noexcept override { return client_.get(); }
    int output() const noexcept override { return client_.get(); }
    int listener() const noexcept override { return client_ ? -1 : listener_.get(); }
    void accept() noexcept override;
    void hang_up() noexcept override { client_.reset(); }

private:
    SocketConsole() = default;

    std::string path_;
    Fd listener_;
    Fd client_;
    bool gone_ = false;  // a write found that nobody listens; read() will find it, too
};

}  // namespace undercroft
