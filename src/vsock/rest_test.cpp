// SPDX-License-Identifier: Apache-2.0
// What the host's program has not taken yet when the guest, or the machine, is through with a connection.
#include "vsock/test_host.hpp"

#include <chrono>
#include <thread>

namespace undercroft {
namespace {

using test::Operation;
using test::VsockTest;

// More than the socket holds, and less than the guest may send.
struct VsockRest : VsockTest {
    std::string sent = std::string(128 << 10, 'a') + std::string(128 << 10, 'b');
    Fd listener = listen();
    Fd socket = connect_guest(listener);
    std::string got;

    void SetUp() override {
        VsockTest::SetUp();
        for (std::size_t from = 0; from < sent.size(); from += 64 << 10)
            say(packet(Operation::Data, 100, 7), sent.substr(from, 64 << 10));
        VsockHeader end = packet(Operation::Shutdown, 100, 7);
        end.flags = VsockHeader::Nothing;
        say(end);
    }
    void receive_until_end() {
        std::array<char, 65536> bytes;
        for (ssize_t count; (count = ::recv(socket.get(), bytes.data(), bytes.size(), 0)) > 0;)
            got.append(bytes.data(), static_cast<std::size_t>(count));
    }
    // Until nothing comes any more.
    void read_all() {
        for (std::string part; (part = read(socket)) != "" && part != "end";) got += part;
    }
};

TEST_F(VsockRest, GetsToTheHostThoughTheConnectionIsReset) {
    say(packet(Operation::Reset, 100, 7));
    for (int n = 0; n < 100 && got.size() < sent.size(); ++n) {
        read_all();
        EXPECT_LT(got.size(), n == 0 ? sent.size() : sent.size() + 1) << "or this tests nothing";
        poll_once();
    }
    EXPECT_TRUE(got == sent) << got.size();
    EXPECT_EQ(read(socket), "end");
    polls.clear();
    host->add_polls(polls, true);
    EXPECT_EQ(polls.size(), 1u) << "only callers are waited for";
}

TEST_F(VsockRest, GetsToTheHostThoughTheMachineHasEnded) {
    host->reset();
    std::thread reader{[this] { receive_until_end(); }};
    host->finish(std::chrono::steady_clock::time_point::max());
    host.reset();
    reader.join();
    EXPECT_TRUE(got == sent) << got.size();
}

TEST_F(VsockRest, IsNotWaitedForForEver) {
    host->reset();
    host->finish(std::chrono::steady_clock::now() + std::chrono::milliseconds{20});
    host.reset();
    read_all();
    EXPECT_LT(got.size(), sent.size());
    EXPECT_TRUE(sent.starts_with(got));
}

TEST_F(VsockRest, IsDroppedWhenNobodyIsThere) {
    host->reset();
    socket.reset();
    host->finish(std::chrono::steady_clock::time_point::max());
}

}  // namespace
}  // namespace undercroft
