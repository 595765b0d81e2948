// SPDX-License-Identifier: Apache-2.0
#include "terminal.hpp"

#include "base/check.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>

namespace undercroft::terminal {
namespace {

// Written by the thread that enters raw mode, before `raw_fd`; read by anyone after.
termios saved_modes;
termios raw_modes;
int terminal_fd = -1;
std::atomic<bool> raw{false};

// async-signal-safe
void on_crash(int signal) {
    leave();
    struct sigaction fall_back {};
    fall_back.sa_handler = SIG_DFL;
    sigaction(signal, &fall_back, nullptr);
    raise(signal);  // blocked until the handler returns; a fault comes again by itself
}

}  // namespace

Result<void> enter_raw_mode(int fd) {
    if (!isatty(fd)) return {};
    if (tcgetattr(fd, &saved_modes) != 0) return host_error().in("terminal");
    raw_modes = saved_modes;
    cfmakeraw(&raw_modes);
    terminal_fd = fd;
    static const int at_exit = std::atexit([] { leave(); });
    if (at_exit != 0) return Error{"terminal: cannot arrange to restore it"};
    // Set first: a signal between the two lines restores modes that have not changed yet.
    raw = true;
    if (tcsetattr(fd, TCSADRAIN, &raw_modes) != 0) return host_error().in("terminal");
    if (isatty(STDERR_FILENO)) set_log_line_end("\r\n");
    return {};
}

void leave() noexcept {
    if (!raw.exchange(false)) return;
    tcsetattr(terminal_fd, TCSANOW, &saved_modes);
    set_log_line_end("\n");
}

void enter_again() noexcept {
    if (raw) tcsetattr(terminal_fd, TCSANOW, &raw_modes);
}

bool is_raw() noexcept { return raw; }

void restore_on_crash() {
    set_check_hook([] { leave(); });
    struct sigaction action {};
    action.sa_handler = on_crash;
    action.sa_flags = SA_ONSTACK;
    for (int signal : std::array{SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS})
        sigaction(signal, &action, nullptr);
}

}  // namespace undercroft::terminal
