// SPDX-License-Identifier: Apache-2.0
#include "machine/channel.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace undercroft {
namespace {

namespace fs = std::filesystem;
using Input = ConsolePort::Input;
using Output = ConsolePort::Output;

struct ChannelTest : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-channel-" + std::to_string(getpid()));
    std::unique_ptr<Channel> channel;
    std::mutex mutex;
    std::condition_variable condition;
    bool changed = false;

    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override {
        channel.reset();
        fs::remove_all(folder);
    }

    void open(const std::string& kind) {
        auto opened = Channel::open({.name = "name", .where = kind + (folder / "end").string()});
        ASSERT_TRUE(opened) << opened.error().message;
        channel = *std::move(opened);
        channel->on_change([this] {
            std::lock_guard lock{mutex};
            changed = true;
            condition.notify_all();
        });
    }
    // As the device does: looks again when the port has changed.
    template <class Condition>
    void wait_until(Condition is_so) {
        while (!is_so()) {
            std::unique_lock lock{mutex};
            condition.wait(lock, [this] { return std::exchange(changed, false); });
        }
    }
    void wait_for(Output output) {
        wait_until([&] { return channel->output() == output; });
    }
    Fd connect() const {
        Fd client{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, (folder / "end").c_str());
        EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        return client;
    }
    void write(std::string_view text) { channel->write(std::as_bytes(std::span{text})); }
    static std::string receive(const Fd& client, std::size_t count) {
        std::string text(count, '\0');
        EXPECT_EQ(::recv(client.get(), text.data(), count, MSG_WAITALL), static_cast<ssize_t>(count));
        return text;
    }
    std::string read(std::size_t count) {
        std::string text;
        std::array<std::byte, 1000> room;
        while (text.size() < count) {
            wait_until([&] { return channel->input() == Input::Bytes; });
            text.append(reinterpret_cast<const char*>(room.data()), channel->read(room));
        }
        return text;
    }
};

TEST_F(ChannelTest, IsClosedWhileNobodyIsConnected) {
    open("unix:");
    EXPECT_EQ(channel->name(), "name");
    EXPECT_EQ(channel->output(), Output::Closed);
    Fd client = connect();
    wait_for(Output::Room);
    write("hello");
    EXPECT_EQ(receive(client, 5), "hello");
    EXPECT_EQ(::send(client.get(), "you", 3, 0), 3);
    EXPECT_EQ(read(3), "you");
    EXPECT_EQ(channel->input(), Input::Nothing);
    client.reset();
    wait_for(Output::Closed);
    write("lost");
    Fd other = connect();
    wait_for(Output::Room);
    write("found");
    EXPECT_EQ(receive(other, 5), "found");
}

TEST_F(ChannelTest, PassesLongTextsOnWhoeverIsSlow) {
    open("unix:");
    Fd client = connect();
    wait_for(Output::Room);
    std::string text;
    for (unsigned n = 0; n < 200'000; ++n) text += std::to_string(n) + "\n";
    std::thread sender{[&] {
        EXPECT_EQ(::send(client.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    }};
    EXPECT_TRUE(read(text.size()) == text);
    sender.join();
    std::thread guest{[&] {
        for (std::string_view rest = text; !rest.empty();) {
            wait_for(Output::Room);
            auto piece = rest.substr(0, 30'000);
            write(piece);
            rest.remove_prefix(piece.size());
        }
    }};
    EXPECT_TRUE(receive(client, text.size()) == text);
    guest.join();
}

// More than a socket holds, for who begins to read when the machine has ended.
struct ChannelEnd : ChannelTest {
    std::string text;
    Fd client;

    void SetUp() override {
        ChannelTest::SetUp();
        open("unix:");
        client = connect();
        int socket_holds = 0;
        socklen_t length = sizeof socket_holds;
        ASSERT_EQ(getsockopt(client.get(), SOL_SOCKET, SO_SNDBUF, &socket_holds, &length), 0);
        text = std::string(static_cast<std::size_t>(socket_holds) + 30'000, 'x') + "end";
        wait_for(Output::Room);
        write(text);
    }
    std::string receive_all() const {
        std::string all;
        std::array<char, 65536> bytes;
        for (ssize_t got; (got = ::recv(client.get(), bytes.data(), bytes.size(), 0)) > 0;)
            all.append(bytes.data(), static_cast<std::size_t>(got));
        return all;
    }
};

TEST_F(ChannelEnd, IsHeardByWhoIsSlow) {
    std::thread ending{[&] {
        channel->finish(Channel::Time::max());
        channel.reset();
    }};
    EXPECT_TRUE(receive_all() == text);
    ending.join();
}

TEST_F(ChannelEnd, IsNotWaitedForForEver) {
    channel->finish(std::chrono::steady_clock::now() + std::chrono::milliseconds{20});
    channel.reset();
    std::string all = receive_all();
    EXPECT_LT(all.size(), text.size()) << "or this tests nothing";
    EXPECT_TRUE(text.starts_with(all));
}

TEST_F(ChannelTest, AFileTakesWhatComes) {
    open("file:");
    EXPECT_EQ(channel->output(), Output::Room);
    EXPECT_EQ(channel->input(), Input::Nothing);
    write("one\n");
    write("two\n");
    wait_until([&] {
        std::ifstream stream{folder / "end"};
        return std::string{std::istreambuf_iterator<char>{stream}, {}} == "one\ntwo\n";
    });
}

TEST_F(ChannelTest, SaysWhatIsWrong) {
    EXPECT_EQ(Channel::open({.name = "a", .where = "file:/nonexistent/b"}).error().message,
              "channel 'a': console 'file:/nonexistent/b': No such file or directory");
}

}  // namespace
}  // namespace undercroft
