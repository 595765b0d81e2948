// SPDX-License-Identifier: Apache-2.0
#include "base/fd.hpp"
#include "machine/console_input.hpp"
#include "machine/console_output.hpp"
#include "machine/console_socket.hpp"
#include "machine/escape.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

namespace undercroft {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool rings(int fd) {
    pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&wait, 1, 0) > 0;
}

struct Typed {
    std::string guest;
    std::vector<Escape::Command> commands;
};

Typed type(Escape& escape, std::string_view keys) {
    Typed result;
    std::vector<std::byte> guest;
    escape.filter(bytes_of(keys), guest,
                  [&](Escape::Command command) { result.commands.push_back(command); });
    result.guest = text_of(guest);
    return result;
}

TEST(Escape, PassesOrdinaryKeys) {
    Escape escape;
    EXPECT_EQ(type(escape, "ls\r\x03").guest, "ls\r\x03");  // Ctrl-C is the guest's
}

TEST(Escape, FindsCommandsAlsoWhenTheKeysComeApart) {
    Escape escape;
    EXPECT_EQ(type(escape, "\x01").guest, "");
    Typed end = type(escape, "x");
    EXPECT_EQ(end.guest, "");
    EXPECT_EQ(end.commands, std::vector{Escape::Command{Escape::Kind::End}});
    Typed both = type(escape,
                      "a\x01"
                      "cb\x01h");
    EXPECT_EQ(both.guest, "ab");
    EXPECT_EQ(both.commands,
              (std::vector{Escape::Command{Escape::Kind::Status}, Escape::Command{Escape::Kind::Help}}));
}

TEST(Escape, SendsThePrefixOnRequestAndWithUnknownKeys) {
    Escape escape;
    EXPECT_EQ(type(escape, "\x01\x01x").guest, "\x01x");
    EXPECT_EQ(type(escape, "\x01z").guest, "\x01z");
}

TEST(Escape, DigitsChooseAmongSeveralMachines) {
    Escape one;
    EXPECT_EQ(type(one,
                   "\x01"
                   "1\x01"
                   "?")
                  .guest,
              "\x01"
              "1\x01"
              "?");
    Escape three{3};
    Typed typed = type(three,
                       "a\x01"
                       "0\x01"
                       "3b\x01"
                       "4\x01"
                       "?");
    EXPECT_EQ(typed.guest,
              "ab\x01"
              "4");
    EXPECT_EQ(typed.commands,
              (std::vector{Escape::Command{Escape::Kind::Choose, 0}, Escape::Command{Escape::Kind::Choose, 3},
                           Escape::Command{Escape::Kind::Help}}));
}

struct InputTest : testing::Test {
    Alarm alarm = *Alarm::create();
    Doorbell room = *Doorbell::create();
    ConsoleInput input{alarm, room};
    std::string taken;

    // A UART with `space` bytes of room.
    void feed(std::size_t space) {
        input.feed([&](std::span<const std::byte> bytes) {
            std::size_t n = std::min(bytes.size(), space);
            taken += text_of(bytes.first(n));
            space -= n;
            return n;
        });
    }
};

TEST_F(InputTest, GivesWhatTheUartTakes) {
    EXPECT_TRUE(input.push(bytes_of("abcdef")));
    feed(2);
    EXPECT_EQ(taken, "ab");
    EXPECT_TRUE(input.push(bytes_of("gh")));
    feed(100);
    EXPECT_EQ(taken, "abcdefgh");
}

TEST_F(InputTest, StopsWhenTheCreditIsUsedUpUntilItIsRenewed) {
    std::string text(ConsoleInput::credit + 100, 'x');
    input.push(bytes_of(text));
    feed(text.size());
    EXPECT_EQ(taken.size(), ConsoleInput::credit);
    feed(text.size());
    EXPECT_EQ(taken.size(), ConsoleInput::credit);
    pollfd wait{.fd = alarm.fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&wait, 1, 10'000), 1) << "for a guest that never halts";
    input.renew();
    feed(text.size());
    EXPECT_EQ(taken, text);
}

TEST_F(InputTest, AsksForMoreWhenThereIsRoomAgain) {
    std::string text(ConsoleInput::capacity, 'x');
    EXPECT_FALSE(input.push(bytes_of(text)));
    EXPECT_FALSE(rings(room.fd()));
    while (taken.size() < ConsoleInput::capacity / 2) {
        input.renew();
        feed(text.size());
    }
    EXPECT_TRUE(rings(room.fd()));
}

class FakeBackend final : public ConsoleBackend {
public:
    Transfer write(std::span<const std::byte> bytes) noexcept override {
        std::size_t n = std::min(bytes.size(), room);
        written += text_of(bytes.first(n));
        writes += n > 0;
        room -= n;
        return {.bytes = n, .state = room == 0 ? when_full : State::Ok};
    }
    Transfer read(std::span<std::byte>) noexcept override { return {}; }

    std::size_t room = ~std::size_t{0};
    State when_full = State::Blocked;
    std::string written;
    int writes = 0;
};

struct OutputTest : testing::Test {
    FakeBackend backend;
    Alarm alarm = *Alarm::create();
    ConsoleOutput output{backend, alarm};

    void put(std::string_view text) {  // as a UART does
        for (char c : text) {
            output.append(bytes_of({&c, 1}));
            output.settle();
        }
    }
};

TEST_F(OutputTest, GathersBytesUntilTheBatchIsFull) {
    put(std::string(ConsoleOutput::batch - 1, 'x'));
    EXPECT_EQ(backend.writes, 0);
    put("y");
    EXPECT_EQ(backend.writes, 1);
    EXPECT_EQ(backend.written.size(), ConsoleOutput::batch);
}

TEST_F(OutputTest, ALineGoesOutAtOnceAndTheRestByAlarm) {
    put("hello\n");
    EXPECT_EQ(backend.written, "hello\n");
    put("login: ");
    EXPECT_EQ(backend.written, "hello\n");
    pollfd wait{.fd = alarm.fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&wait, 1, 10'000), 1);
    output.flush();
    EXPECT_EQ(backend.written, "hello\nlogin: ");
}

TEST_F(OutputTest, KeepsWhatTheOtherEndDoesNotTake) {
    backend.room = 10;
    std::string text(ConsoleOutput::batch * 2, 'x');
    put(text);
    EXPECT_EQ(backend.written.size(), 10u);
    backend.room = ~std::size_t{0};
    output.flush();
    EXPECT_EQ(backend.written, text);
}

TEST_F(OutputTest, IsFullUntilTheOtherEndTakesSome) {
    int rooms = 0;
    output.on_room([&] { ++rooms; });
    backend.room = 0;
    put(std::string(ConsoleOutput::limit - 1, 'x'));
    EXPECT_FALSE(output.is_full());
    put("y");
    EXPECT_TRUE(output.is_full());
    pollfd wait{.fd = alarm.fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&wait, 1, 10'000), 1) << "it tries again";
    output.flush();
    EXPECT_EQ(rooms, 0);
    backend.room = 1;
    output.flush();
    EXPECT_FALSE(output.is_full());
    EXPECT_EQ(rooms, 1);
}

TEST_F(OutputTest, IsNotFullWhenTheMachineStops) {
    backend.room = 0;
    put(std::string(ConsoleOutput::limit, 'x'));
    output.cancel();
    EXPECT_FALSE(output.is_full());
    put("more");
    EXPECT_FALSE(output.is_full());
}

TEST_F(OutputTest, IsNotFullWhenTheOtherEndGoes) {
    backend.room = 0;
    put(std::string(ConsoleOutput::limit, 'x'));
    EXPECT_TRUE(output.is_full());
    backend.when_full = ConsoleBackend::State::Absent;
    output.hang_up();
    EXPECT_FALSE(output.is_full());
}

TEST_F(OutputTest, WithNobodyThereTheNewestStays) {
    backend.room = 0;
    backend.when_full = ConsoleBackend::State::Absent;
    put(std::string(ConsoleOutput::limit * 3, 'x') + "the end");
    backend.room = ~std::size_t{0};
    output.accept();
    EXPECT_TRUE(backend.written.ends_with("the end"));
    EXPECT_LE(backend.written.size(), ConsoleOutput::limit);
}

TEST_F(OutputTest, AFailureIsToldOnce) {
    int failures = 0;
    output.on_failure([&](const Error&) { ++failures; });
    backend.room = 0;
    backend.when_full = ConsoleBackend::State::Closed;
    put(std::string(ConsoleOutput::batch * 3, 'x'));
    EXPECT_EQ(failures, 1);
}

TEST(SocketConsole, TakesOneClientAfterTheOtherAndRemovesItsFile) {
    std::string path = testing::TempDir() + "undercroft-console-" + std::to_string(getpid());
    auto opened = ConsoleBackend::open("unix:" + path);
    ASSERT_TRUE(opened) << opened.error().message;
    ConsoleBackend& console = **opened;
    EXPECT_EQ(console.write(bytes_of("x")).state, ConsoleBackend::State::Absent);
    for (int i = 0; i < 2; ++i) {
        Fd client{socket(AF_UNIX, SOCK_STREAM, 0)};
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        console.accept();
        EXPECT_EQ(console.write(bytes_of("hello")).bytes, 5u);
        ASSERT_EQ(::write(client.get(), "abc", 3), 3);
        std::array<std::byte, 16> got;
        EXPECT_EQ(console.read(got).bytes, 3u);
        client.reset();
        EXPECT_EQ(console.read(got).state, ConsoleBackend::State::Absent);
        console.hang_up();
    }
    auto second = ConsoleBackend::open("unix:" + path);
    EXPECT_FALSE(second) << "the path is taken";
    opened->reset();
    EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(Console, RefusesWhatIsNone) {
    for (const char* where : {"", "stdi", "file:", "unix:", "tcp:1"}) {
        auto opened = ConsoleBackend::open(where);
        ASSERT_FALSE(opened);
        EXPECT_TRUE(opened.error().message.find(where) != std::string::npos);
    }
    auto unwritable = ConsoleBackend::open("file:/nonexistent/x");
    ASSERT_FALSE(unwritable);
    EXPECT_EQ(unwritable.error().message, "console 'file:/nonexistent/x': No such file or directory");
}

}  // namespace
}  // namespace undercroft
