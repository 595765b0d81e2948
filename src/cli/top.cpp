// SPDX-License-Identifier: Apache-2.0
#include "top.hpp"

#include "cli/command_line.hpp"
#include "cli/machine_table.hpp"
#include "machine/signals.hpp"
#include "machine/terminal.hpp"

#include <poll.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <array>
#include <csignal>
#include <cstdio>
#include <utility>

namespace undercroft::cli {
namespace {

constexpr int interval_ms = 1000;
constexpr const char* clear_screen = "\x1b[H\x1b[J";
constexpr char control_c = '\x03';

struct TopArguments : ControlArguments {
    bool once = false;
};

// A second, unless a signal asks us to end, or a key does.
enum class Wish : std::uint8_t { GoOn, End };
Wish wait(const Fd& signal_fd, bool keys) {
    std::array<pollfd, 2> wait{{{.fd = signal_fd.get(), .events = POLLIN, .revents = 0},
                                {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0}}};
    if (poll(wait.data(), wait.size(), interval_ms) <= 0) return Wish::GoOn;
    if (wait[0].revents != 0) {
        int signal = signals::take(signal_fd.get());
        if (signal == SIGCONT) terminal::enter_again();
        if (signal == 0 || signal == SIGCONT) return Wish::GoOn;
        terminal::leave();
        signals::die_of(signal);
    }
    char key = 0;
    ssize_t n = ::read(STDIN_FILENO, &key, 1);
    return n <= 0 || key == 'q' || key == control_c ? Wish::End : Wish::GoOn;
}

Result<void> show(const TopArguments& arguments) {
    bool live = !arguments.once && !arguments.json && isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
    signals::block();
    auto signal_fd = signals::open();
    if (!signal_fd) return signal_fd.error();
    if (live) {
        if (auto raw = terminal::enter_raw_mode(STDIN_FILENO); !raw) return raw.error();
    }
    std::string line_end = live ? "\r\n" : "\n";
    std::vector<control::Reply> before = look(arguments.path());
    while (wait(*signal_fd, live) == Wish::GoOn) {
        std::vector<control::Reply> now = look(arguments.path());
        std::vector<MachineRow> rows = rows_of(now, before);
        if (live) std::fputs(clear_screen, stdout);
        std::string text = arguments.json ? json_of(rows, now)
                                          : table_of(rows, Columns::All, line_end) + memory_of(now, line_end);
        std::fputs(text.c_str(), stdout);
        if (live) std::fputs("\r\nq ends\r\n", stdout);
        if (!live && !arguments.json && !arguments.once) std::fputs("\n", stdout);
        if (std::fflush(stdout) != 0) return host_error().in("standard output");
        if (arguments.once) break;
        before = std::move(now);
    }
    terminal::leave();
    return {};
}

}  // namespace

void add_top(CLI::App& app, Done done) {
    auto arguments = std::make_shared<TopArguments>();
    CLI::App* verb =
        app.add_subcommand("top", "Show what the machines of this user do, every second; q ends");
    add_control_options(*verb, *arguments);
    verb->add_flag("--once", arguments->once, "show one second, and end");
    verb->final_callback([arguments, done = std::move(done)] {
        auto shown = show(*arguments);
        done(shown ? exit_success : refuse(*arguments, shown.error()));
    });
}

}  // namespace undercroft::cli
