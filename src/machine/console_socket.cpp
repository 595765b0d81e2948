// SPDX-License-Identifier: Apache-2.0
#include "console_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace undercroft {

Result<std::unique_ptr<ConsoleBackend>> SocketConsole::open(const std::string& path) {
    std::string name = "console 'unix:" + path + "'";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return Error{"path too long for a socket"}.in(name);
    std::memcpy(address.sun_path, path.data(), path.size());
    std::unique_ptr<SocketConsole> console{new SocketConsole};
    console->listener_ = Fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!console->listener_) return host_error().in(name);
    if (bind(console->listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        return host_error().in(name);
    }
    console->path_ = path;  // from here on it is ours to remove
    if (listen(console->listener_.get(), 4) != 0) return host_error().in(name);
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
