// SPDX-License-Identifier: Apache-2.0
// Several consoles on one terminal that takes what a test lets it take.

#include "monitor/shared_terminal.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

namespace undercroft {
namespace {

using State = ConsoleBackend::State;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

struct FakeTerminal final : ConsoleBackend {
    std::string& out;
    std::size_t& room;
    int in;

    FakeTerminal(std::string& to, std::size_t& space, int input_fd) : out{to}, room{space}, in{input_fd} {}
    Transfer write(std::span<const std::byte> bytes) noexcept override {
        std::size_t n = std::min(bytes.size(), room);
        room -= n;
        out.append(reinterpret_cast<const char*>(bytes.data()), n);
        return {.bytes = n, .state = n == 0 ? State::Blocked : State::Ok};
    }
    Transfer read(std::span<std::byte> bytes) noexcept override {
        ssize_t n = ::read(in, bytes.data(), bytes.size());
        if (n <= 0) return {.bytes = 0, .state = n == 0 ? State::Closed : State::Blocked};
        return {.bytes = static_cast<std::size_t>(n), .state = State::Ok};
    }
    int input() const noexcept override { return in; }
    bool is_interactive() const noexcept override { return true; }
};

struct SharedTerminalTest : testing::Test {
    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    std::array<Fd, 2> keys;  // a pipe
    std::string out;
    std::size_t room = std::numeric_limits<std::size_t>::max();
    std::unique_ptr<SharedTerminal> terminal;
    std::unique_ptr<ConsoleBackend> web, data;
    std::array<std::string, 2> typed;
    bool takes_input = true;

    void SetUp() override {
        std::array<int, 2> ends{};
        ASSERT_EQ(pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
        keys = {Fd{ends[0]}, Fd{ends[1]}};
        terminal = *SharedTerminal::create({"web", "data"}, 0, *loop,
                                           std::make_unique<FakeTerminal>(out, room, keys[0].get()),
                                           SharedTerminal::Reader::Program);
        web = terminal->line(0);
        data = terminal->line(1);
        terminal->on_input([this](unsigned machine, std::span<const std::byte> bytes) {
            typed[machine].append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
            return takes_input;
        });
        terminal->on_command([this](Escape::Command command) {
            if (command.kind == Escape::Kind::End) loop->stop();
            if (command.kind != Escape::Kind::Choose) return;
            if (command.choice == 0) return terminal->show_all();
            terminal->attach(command.choice - 1);
        });
    }

    // Lets the loop see these keys, and all it has to do before.
    void type(std::string text) {
        text += "\x01x";
        ASSERT_EQ(::write(keys[1].get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
        loop->run();
    }
    static ConsoleBackend::Transfer write(ConsoleBackend& line, std::string_view text) {
        return line.write(bytes_of(text));
    }
};

TEST_F(SharedTerminalTest, ShowsAllWithTheirNames) {
    write(*web, "one\n");
    write(*data, "two\n");
    write(*web, "# ");  // attached: somebody waits for it
    EXPECT_EQ(out, "web  | one\ndata | two\nweb  | # ");
    terminal->finish({});
    EXPECT_EQ(out, "web  | one\ndata | two\nweb  | # \n");
}

TEST_F(SharedTerminalTest, ShowsOneAlone) {
    write(*data, "before\r\n");
    out.clear();
    type(
        "\x01"
        "2");
    EXPECT_EQ(terminal->shown_alone(), 1u);
    EXPECT_EQ(out, "before\r\n");
    out.clear();
    write(*web, "not shown\n");
    write(*data, "raw \x1b[1m\r\n");
    EXPECT_EQ(out, "raw \x1b[1m\r\n");
    out.clear();
    type(
        "\x01"
        "1");
    EXPECT_EQ(out, "not shown\n") << "remembered";
    out.clear();
    type(
        "\x01"
        "0");
    EXPECT_EQ(terminal->shown_alone(), std::nullopt);
    write(*data, "both\n");
    EXPECT_EQ(out, "\ndata | both\n");
}

TEST_F(SharedTerminalTest, KeysGoToTheAttachedMachine) {
    type(
        "for web\x01"
        "2for data\x01"
        "0still data\x01"
        "1web");
    EXPECT_EQ(typed[0], "for webweb");
    EXPECT_EQ(typed[1], "for datastill data");
}

TEST_F(SharedTerminalTest, AMachineThatTakesNoInputDoesNotKeepTheKeysFromUs) {
    takes_input = false;
    type("first");
    type("dropped");
    EXPECT_EQ(typed[0], "first");
    takes_input = true;
    type(
        "dropped\x01"
        "2other\x01"
        "1dropped");
    EXPECT_EQ(typed[0], "first");
    EXPECT_EQ(typed[1], "other");
    terminal->has_room(0);
    type("again");
    EXPECT_EQ(typed[0], "firstagain");
}

TEST_F(SharedTerminalTest, AFloodHoldsUpOnlyItself) {
    room = 0;
    std::string line(99, 'x');
    line += '\n';
    std::size_t accepted = 0;
    for (auto done = write(*web, line); done.state == State::Ok; done = write(*web, line))
        accepted += done.bytes;
    EXPECT_LE(accepted, SharedTerminal::share);
    EXPECT_EQ(write(*data, "important\n").bytes, 10u);
    terminal->finish({});  // and does not hold up the end
    room = std::numeric_limits<std::size_t>::max();
    terminal->finish({});
    EXPECT_TRUE(out.ends_with("\ndata | important\n"));
    EXPECT_EQ(write(*web, line).state, State::Ok);
}

TEST_F(SharedTerminalTest, WhatIsTypedGoesToAnotherMachineWhenOneHasEnded) {
    type("for web");
    EXPECT_EQ(terminal->attached(), 0u);
    EXPECT_TRUE(terminal->hand_over(1));
    type("for data");
    EXPECT_EQ(typed[0], "for web");
    EXPECT_EQ(typed[1], "for data");
    out.clear();
    write(*data, "not ended");
    EXPECT_EQ(out, "data | not ended") << "in rows, and shown at once";
}

}  // namespace
}  // namespace undercroft
