// SPDX-License-Identifier: Apache-2.0
#include "console.hpp"

#include "cli/command_line.hpp"
#include "machine/console.hpp"
#include "machine/escape.hpp"
#include "machine/signals.hpp"
#include "machine/terminal.hpp"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <span>
#include <utility>
#include <vector>

namespace undercroft::cli {
namespace {

Result<void> write_all(int fd, std::span<const char> bytes) {
    while (!bytes.empty()) {
        ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return host_error().in("standard output");
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

// Bytes in both directions, until the user detaches or the machine ends.
class Session {
public:
    Session(control::Client::Stream stream, Fd signals)
        : socket_{std::move(stream.fd)},
          signals_{std::move(signals)},
          interactive_{isatty(STDIN_FILENO) != 0} {}

    Result<void> run() {
        while (!done_) {
            bool full = to_guest_.size() >= longest;
            std::array<pollfd, 3> wait{
                {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                 {.fd = reading_ && !full ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0},
                 {.fd = socket_.get(),
                  .events = static_cast<short>(to_guest_.empty() ? POLLIN : POLLIN | POLLOUT),
                  .revents = 0}}};
            if (poll(wait.data(), wait.size(), -1) < 0) continue;
            if (wait[0].revents != 0) on_signal();
            if (wait[1].revents != 0) read_keys();
            if ((wait[2].revents & POLLOUT) != 0) send_keys();
            if ((wait[2].revents & ~POLLOUT) != 0) {
                if (auto shown = show(); !shown) return shown.error();
            }
        }
        return {};
    }

private:
    static constexpr std::size_t longest = 64 * 1024;

    void on_signal() {
        int signal = signals::take(signals_.get());
        if (signal == SIGCONT) terminal::enter_again();
        if (signal == 0 || signal == SIGCONT) return;
        terminal::leave();
        signals::die_of(signal);
    }

    // The end of what is typed is not that of what is shown.
    void read_keys() {
        std::array<std::byte, 4096> bytes;
        ssize_t n = ::read(STDIN_FILENO, bytes.data(), bytes.size());
        reading_ = n > 0;
        if (n <= 0) return;
        auto typed = std::span{bytes}.first(static_cast<std::size_t>(n));
        if (!interactive_) {
            to_guest_.insert(to_guest_.end(), typed.begin(), typed.end());
            return;
        }
        escape_.filter(typed, to_guest_, [this](Escape::Command command) {
            if (command.kind == Escape::Kind::End)
                done_ = true;
            else
                Console::notice("Ctrl-A x detaches, Ctrl-A Ctrl-A sends Ctrl-A");
        });
    }

    void send_keys() {
        ssize_t n = send(socket_.get(), to_guest_.data(), to_guest_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) done_ = true;
        if (n > 0) to_guest_.erase(to_guest_.begin(), to_guest_.begin() + n);
    }

    Result<void> show() {
        std::array<char, 65536> bytes;
        ssize_t n = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
        if (n <= 0) done_ = true;
        return write_all(STDOUT_FILENO, std::span{bytes}.first(static_cast<std::size_t>(n > 0 ? n : 0)));
    }

    Fd socket_;
    Fd signals_;
    bool interactive_;
    bool reading_ = true;
    bool done_ = false;
    Escape escape_;
    std::vector<std::byte> to_guest_;
};

Result<void> attach(const MachineArguments& arguments) {
    auto monitor = control::monitor_of(arguments.machine, arguments.path());
    if (!monitor) return monitor.error();
    auto reply = monitor->ask({.verb = control::Verb::Console, .machine = arguments.machine});
    if (!reply) return reply.error();
    signals::block();
    auto signal_fd = signals::open();
    if (!signal_fd) return signal_fd.error();
    if (isatty(STDIN_FILENO) != 0)
        Console::notice(fmt::format("console of {}; Ctrl-A x detaches", arguments.machine));
    if (auto raw = terminal::enter_raw_mode(STDIN_FILENO); !raw) return raw.error();
    control::Client::Stream stream = (*std::move(monitor)).stream();
    auto shown = write_all(STDOUT_FILENO, stream.received);
    if (shown) shown = Session{std::move(stream), *std::move(signal_fd)}.run();
    terminal::leave();
    return shown;
}

}  // namespace

void add_console(CLI::App& app, Done done) {
    auto arguments = std::make_shared<MachineArguments>();
    CLI::App& verb = add_machine_verb(
        app, "console", "Connect this terminal to a machine's console; Ctrl-A x detaches", *arguments);
    verb.final_callback([arguments, done = std::move(done)] {
        auto done_well = attach(*arguments);
        if (done_well && arguments->json) std::fputs(control::line_of(control::Reply{}).c_str(), stdout);
        done(done_well ? exit_success : refuse(*arguments, done_well.error()));
    });
}

}  // namespace undercroft::cli
