// SPDX-License-Identifier: Apache-2.0
#include "exec/control_port.hpp"

#include "exec/test_pipe.hpp"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <string>
#include <thread>

namespace undercroft {
namespace {

using Input = ConsolePort::Input;

struct ControlPortTest : testing::Test {
    TestPipe out, err;
    std::unique_ptr<OutputPort> output = std::move(*OutputPort::open(out.write_end.get()));
    std::unique_ptr<OutputPort> errors = std::move(*OutputPort::open(err.write_end.get()));
    ControlPort port{*output, *errors};

    void guest_says(std::string_view text) { port.write(std::as_bytes(std::span{text})); }
    std::string guest_hears() {
        std::array<std::byte, 100> room;
        return {reinterpret_cast<const char*>(room.data()), port.read(room)};
    }
};

TEST_F(ControlPortTest, HearsTheStatusInPieces) {
    guest_says("started\nexi");
    EXPECT_FALSE(port.status());
    guest_says("t 137 0 0\n");
    EXPECT_EQ(port.status(), 137);
    guest_says("exit 1 0 0\n");
    EXPECT_EQ(port.status(), 137) << "the first one counts";
}

TEST_F(ControlPortTest, WhatIsNoStatus) {
    for (const char* text :
         {"exit 256 0 0\n", "exit -1 0 0\n", "exit \n", "exit 1\n", "exit 1 0\n", "exit 1 0 0x\n",
          "exit 1 0 0 0\n", "1\n", "exit 99999999999999999999 0 0\n", "\n"})
        guest_says(text);
    guest_says(std::string(1'000'000, 'x') + "\n");
    guest_says("exit 1 0 0" + std::string(100, ' ') + "\n");
    EXPECT_FALSE(port.status());
    EXPECT_EQ(port.input(), Input::Nothing);
}

TEST_F(ControlPortTest, SaysGoodByeWhenAllOutputHasLeft) {
    guest_says("started\nexit 0 5 6\n");
    EXPECT_EQ(port.input(), Input::Nothing) << "it is still on its way";
    output->write(std::as_bytes(std::span{"hello", 5}));
    errors->write(std::as_bytes(std::span{"sorry\n", 6}));
    EXPECT_EQ(out.read(5), "hello");
    EXPECT_EQ(err.read(6), "sorry\n");
    while (port.input() == Input::Nothing) std::this_thread::yield();
    EXPECT_EQ(guest_hears(), "bye\n");
    EXPECT_EQ(port.input(), Input::Nothing);
}

TEST_F(ControlPortTest, PassesSignalsOnWhileThereIsACommand) {
    bool woken = false;
    port.on_change([&woken] { woken = true; });
    EXPECT_FALSE(port.pass_on_signal(SIGTERM));
    port.set_terminal_size(24, 80);
    EXPECT_EQ(port.input(), Input::Nothing);
    guest_says("started\n");
    EXPECT_TRUE(port.pass_on_signal(SIGTERM));
    EXPECT_TRUE(woken);
    port.set_terminal_size(50, 132);
    EXPECT_EQ(guest_hears(), "signal 15\nsize 50 132\n");
    guest_says("exit 0 100 0\n");
    EXPECT_FALSE(port.pass_on_signal(SIGTERM)) << "it would reach nobody";
}

}  // namespace
}  // namespace undercroft
