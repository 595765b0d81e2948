// SPDX-License-Identifier: Apache-2.0
#include "console_socket.hpp"

#include "base/unix_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace undercroft {

Result<std::unique_ptr<ConsoleBackend>> SocketConsole::open(const std::string& path) {
    auto listener = listen_at_socket(path);
    if (!listener) return std::move(listener.error()).in("console 'unix:" + path + "'");
    std::unique_ptr<SocketConsole> console{new SocketConsole};
    console->listener_ = *std::move(listener);
    console->path_ = path;
    return std::unique_ptr<ConsoleBackend>{std::move(console)};
}

SocketConsole::~SocketConsole() {
    if (!path_.empty()) unlink(path_.c_str());
}

void SocketConsole::accept() noexcept {
    client_ = Fd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    gone_ = false;
}

ConsoleBackend::Transfer SocketConsole::write(std::span<const std::byte> bytes) noexcept {
    if (!client_ || gone_) return {.bytes = 0, .state = State::Absent};
    ssize_t n = send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return {.bytes = static_cast<std::size_t>(n), .state = State::Ok};
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return {.bytes = 0, .state = State::Blocked};
    gone_ = true;
    return {.bytes = 0, .state = State::Absent};
}

ConsoleBackend::Transfer SocketConsole::read(std::span<std::byte> bytes) noexcept {
    if (!client_) return {.bytes = 0, .state = State::Absent};
    ssize_t n = recv(client_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n > 0) return {.bytes = static_cast<std::size_t>(n), .state = State::Ok};
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return {.bytes = 0, .state = State::Blocked};
    }
    return {.bytes = 0, .state = State::Absent};
}

}  // namespace undercroft
