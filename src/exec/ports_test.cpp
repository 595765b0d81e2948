// SPDX-License-Identifier: Apache-2.0
#include "exec/ports.hpp"

#include "exec/test_pipe.hpp"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <string>
#include <thread>

namespace undercroft {
namespace {

using Input = ConsolePort::Input;
using Output = ConsolePort::Output;

std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t n = 0; n < size; ++n) text[n] = static_cast<char>(n % 251);
    return text;
}

// Says when a port has changed.
class Wakes {
public:
    explicit Wakes(ConsolePort& port) : port_{port} {
        port_.on_change([this] {
            std::lock_guard lock{mutex_};
            changed_ = true;
            condition_.notify_all();
        });
    }
    ~Wakes() {
        port_.on_change([] {});
    }
    void wait() {
        std::unique_lock lock{mutex_};
        condition_.wait(lock, [this] { return std::exchange(changed_, false); });
    }

private:
    ConsolePort& port_;
    std::mutex mutex_;
    std::condition_variable condition_;
    bool changed_ = false;
};

TEST(InputPort, ReadsToTheEnd) {
    TestPipe pipe;
    std::string sent = pattern(200'000);
    auto port = std::move(*InputPort::open(pipe.read_end.get()));
    Wakes wakes{*port};
    std::thread writer{[&] {
        EXPECT_EQ(::write(pipe.write_end.get(), sent.data(), sent.size()), static_cast<ssize_t>(sent.size()));
        pipe.write_end.reset();
    }};
    std::string got;
    std::array<std::byte, 1000> room;
    for (Input input; (input = port->input()) != Input::End;) {
        if (input == Input::Nothing)
            wakes.wait();
        else
            got.append(reinterpret_cast<const char*>(room.data()), port->read(room));
    }
    writer.join();
    EXPECT_TRUE(got == sent);
}

TEST(InputPort, EndsWhileNothingComes) {
    TestPipe pipe;
    { auto port = std::move(*InputPort::open(pipe.read_end.get())); }
    ASSERT_EQ(::write(pipe.write_end.get(), "x", 1), 1);
    EXPECT_EQ(pipe.read(1), "x") << "it has read nothing";
}

TEST(OutputPort, KeepsTheGuestWaitingWhileNobodyReads) {
    TestPipe pipe;
    auto port = std::move(*OutputPort::open(pipe.write_end.get()));
    Wakes wakes{*port};
    std::string piece = pattern(32'000);
    std::string sent;
    // Until the pipe is full, and what the port keeps as well.
    while (port->output() == Output::Room) {
        port->write(std::as_bytes(std::span{piece}));
        sent += piece;
        ASSERT_LT(sent.size(), 8u << 20);
        std::this_thread::yield();
    }
    EXPECT_FALSE(port->has_passed_on(sent.size()));
    EXPECT_EQ(pipe.read(sent.size()), sent);
    while (!port->has_passed_on(sent.size())) wakes.wait();
    EXPECT_EQ(port->output(), Output::Room);
    EXPECT_FALSE(port->has_passed_on(sent.size() + 1)) << "that has not come yet";
}

TEST(OutputPort, ClosesWhenNobodyTakesItAnyMore) {
    std::signal(SIGPIPE, SIG_IGN);
    TestPipe pipe;
    auto port = std::move(*OutputPort::open(pipe.write_end.get()));
    Wakes wakes{*port};
    pipe.read_end.reset();
    port->write(std::as_bytes(std::span{"text"}));
    while (port->output() != Output::Closed) wakes.wait();
    EXPECT_TRUE(port->has_passed_on(1000)) << "there is nothing to wait for";
}

TEST(OutputPort, EndsWhileNobodyReads) {
    TestPipe pipe;
    auto port = std::move(*OutputPort::open(pipe.write_end.get()));
    std::string text = pattern(1'000'000);
    port->write(std::as_bytes(std::span{text}));
    port->finish(std::chrono::milliseconds{1});
}

}  // namespace
}  // namespace undercroft
