// SPDX-License-Identifier: Apache-2.0
#include "console_file.hpp"

#include "machine/terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace undercroft {
namespace {

using State = ConsoleBackend::State;
using Transfer = ConsoleBackend::Transfer;

// A second opening of a terminal or pipe, which does not block. Empty where that is not possible.
Fd reopen(int fd, int flags) {
    struct stat status {};
    if (fstat(fd, &status) != 0 || !(S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode))) return {};
    std::string path = "/proc/self/fd/" + std::to_string(fd);
    return Fd{::open(path.c_str(), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
}

bool is_ready(int fd, short events) {
    pollfd wait{.fd = fd, .events = events, .revents = 0};
    return poll(&wait, 1, 0) > 0;
}

bool is_writable(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

Transfer failed() {
    bool again = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    return {.bytes = 0, .state = again ? State::Blocked : State::Closed};
}

Transfer write_some(int fd, std::span<const std::byte> bytes) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) return failed();
    return {.bytes = static_cast<std::size_t>(n), .state = State::Ok};
}

}  // namespace

Result<std::unique_ptr<ConsoleBackend>> StdioConsole::open() {
    if (!is_writable(STDOUT_FILENO)) return Error{"console 'stdio': standard output is closed or read-only"};
    std::unique_ptr<StdioConsole> console{new StdioConsole};
    console->interactive_ = isatty(STDIN_FILENO);
    console->own_input_ = reopen(STDIN_FILENO, O_RDONLY);
    console->own_output_ = reopen(STDOUT_FILENO, O_WRONLY);
    console->input_fd_ = console->own_input_ ? console->own_input_.get() : STDIN_FILENO;
    console->output_fd_ = console->own_output_ ? console->own_output_.get() : STDOUT_FILENO;
    if (auto raw = terminal::enter_raw_mode(STDIN_FILENO); !raw) return raw.error();
    return std::unique_ptr<ConsoleBackend>{std::move(console)};
}

StdioConsole::~StdioConsole() { terminal::leave(); }

// Where there is no second opening (a socket), a small write after poll() said "ready" is as good as it gets.
Transfer StdioConsole::write(std::span<const std::byte> bytes) noexcept {
    constexpr std::size_t small = 512;
    if (own_output_) return write_some(output_fd_, bytes);
    if (!is_ready(output_fd_, POLLOUT)) return {.bytes = 0, .state = State::Blocked};
    return write_some(output_fd_, bytes.first(std::min(bytes.size(), small)));
}

Transfer StdioConsole::read(std::span<std::byte> bytes) noexcept {
    if (!input_open_) return {.bytes = 0, .state = State::Closed};
    ssize_t n = ::read(input_fd_, bytes.data(), bytes.size());
    Transfer result = n < 0 ? failed() : Transfer{.bytes = static_cast<std::size_t>(n), .state = State::Ok};
    if (n == 0) result.state = State::Closed;
    if (result.state == State::Closed) input_open_ = false;
    return result;
}

Result<std::unique_ptr<ConsoleBackend>> FileConsole::open(const std::string& path) {
    std::unique_ptr<FileConsole> console{new FileConsole};
    console->file_ = Fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0666)};
    if (!console->file_) return host_error().in("console 'file:" + path + "'");
    return std::unique_ptr<ConsoleBackend>{std::move(console)};
}

Transfer FileConsole::write(std::span<const std::byte> bytes) noexcept {
    return write_some(file_.get(), bytes);
}

}  // namespace undercroft
