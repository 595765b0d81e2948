// SPDX-License-Identifier: Apache-2.0
#include "pseudo_terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace undercroft {

PseudoTerminal::PseudoTerminal(unsigned rows, unsigned columns) {
    ours_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ours_ >= 0 && ::unlockpt(ours_) == 0) its_ = ::open(::ptsname(ours_), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (its_ < 0) {
        std::perror("pseudo-terminal");
        std::abort();
    }
    resize(rows, columns);
}

PseudoTerminal::~PseudoTerminal() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    ::close(its_);
    ::close(ours_);
}

void PseudoTerminal::start(const char* program, const std::vector<std::string>& arguments) {
    std::vector<char*> argv{const_cast<char*>(program)};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::setsid();
    ::ioctl(its_, TIOCSCTTY, 0);
    for (int fd = 0; fd < 3; ++fd) ::dup2(its_, fd);
    ::execv(program, argv.data());
    _exit(127);
}

void PseudoTerminal::resize(unsigned rows, unsigned columns) {
    winsize size{};
    size.ws_row = static_cast<unsigned short>(rows);
    size.ws_col = static_cast<unsigned short>(columns);
    ::ioctl(ours_, TIOCSWINSZ, &size);
}

void PseudoTerminal::type(std::string_view bytes) { (void)!::write(ours_, bytes.data(), bytes.size()); }

bool PseudoTerminal::read_some(int timeout_ms) {
    pollfd wait{.fd = ours_, .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, timeout_ms) <= 0) return false;
    std::array<char, 4096> bytes;
    ssize_t count = ::read(ours_, bytes.data(), bytes.size());
    if (count > 0) output_.append(bytes.data(), static_cast<std::size_t>(count));
    return count > 0;
}

bool PseudoTerminal::wait_for(std::string_view text, double seconds) {
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>{seconds};
    for (;;) {
        if (std::size_t at = output_.find(text, position_); at != std::string::npos) {
            position_ = at + text.size();
            return true;
        }
        if (std::chrono::steady_clock::now() > end) return false;
        read_some(100);
    }
}

// The terminal stays open on our side, so it has no end to wait for.
std::optional<int> PseudoTerminal::wait_for_exit() {
    int status = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) read_some(100);
    pid_ = -1;
    while (read_some(0)) continue;
    if (!WIFEXITED(status)) return std::nullopt;
    return WEXITSTATUS(status);
}

termios PseudoTerminal::modes() const {
    termios modes{};
    ::tcgetattr(its_, &modes);
    return modes;
}

}  // namespace undercroft
