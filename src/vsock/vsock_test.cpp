// SPDX-License-Identifier: Apache-2.0
// The host's end of a guest's sockets: packets on one side, Unix sockets on the other.
#include "vsock/test_host.hpp"

namespace undercroft {
namespace {

using test::Operation;
using test::VsockTest;

TEST_F(VsockTest, ACallerIsConnectedToTheGuest) {
    Fd caller = call("CONNECT 1234\nhello");
    Heard request = hear();
    EXPECT_EQ(request.header.operation, Operation::Request);
    EXPECT_EQ(request.header.destination_port, 1234u);
    EXPECT_EQ(request.header.source_cid, vsock_host_cid);
    std::uint32_t port = request.header.source_port;
    EXPECT_FALSE(host->has_packet()) << "nothing before the guest has accepted";
    EXPECT_EQ(read(caller), "");

    say(packet(Operation::Response, 1234, port));
    EXPECT_EQ(read(caller), "OK " + std::to_string(port) + "\n");
    Heard data = hear();
    EXPECT_EQ(data.header.operation, Operation::Data);
    EXPECT_EQ(data.data, "hello");
    say(packet(Operation::Data, 1234, port), "and back");
    EXPECT_EQ(read(caller), "and back");
}

TEST_F(VsockTest, LinesThatAreNoneEndTheCall) {
    for (const char* line : {"HELLO\n", "CONNECT\n", "CONNECT x\n", "CONNECT 4294967296\n", "CONNECT 1 2\n",
                             "CONNECT 00000000000000000000000000000001\n"})
        EXPECT_EQ(read(call(line)), "end") << line;
    EXPECT_FALSE(host->has_packet());
    Fd slow = call("CONN");
    EXPECT_EQ(read(slow), "");
    write(slow, "ECT 9\n");
    poll_once();
    EXPECT_EQ(hear().header.destination_port, 9u);
}

TEST_F(VsockTest, AGuestMayRefuse) {
    Fd caller = call("CONNECT 1\n");
    VsockHeader request = hear().header;
    say(packet(Operation::Reset, 1, request.source_port));
    EXPECT_EQ(read(caller), "end");
    EXPECT_FALSE(host->has_packet());
}

TEST_F(VsockTest, WithoutADriverNobodyIsCalled) {
    host->reset();
    EXPECT_EQ(read(call("CONNECT 1\n")), "end");
}

TEST_F(VsockTest, TheGuestIsConnectedToWhoListens) {
    Fd listener = listen();
    Fd socket = connect_guest(listener);
    say(packet(Operation::Data, 100, 7), "to the host");
    EXPECT_EQ(read(socket), "to the host");
    write(socket, "to the guest");
    poll_once();
    Heard heard = hear();
    EXPECT_EQ(heard.data, "to the guest");
    EXPECT_EQ(heard.header.forwarded, 11u);
}

TEST_F(VsockTest, WhatIsNoConnectionIsReset) {
    say(packet(Operation::Request, 100, 7));  // nobody listens
    Heard refused = hear();
    EXPECT_EQ(refused.header.operation, Operation::Reset);
    EXPECT_EQ(refused.header.destination_port, 100u);
    EXPECT_EQ(refused.header.source_port, 7u);
    say(packet(Operation::Data, 100, 7), "x");
    EXPECT_EQ(next(), Operation::Reset);
    VsockHeader other = packet(Operation::Request, 100, 7);
    other.type = 2;
    say(other);
    EXPECT_EQ(next(), Operation::Reset);
    say(packet(Operation::Reset, 100, 7));
    EXPECT_FALSE(host->has_packet()) << "resets are not answered";
    VsockHeader stranger = packet(Operation::Request, 100, 7);
    stranger.source_cid = cid + 1;
    say(stranger);
    EXPECT_FALSE(host->has_packet()) << "nor are others than the guest";
}

TEST_F(VsockTest, TheGuestGetsNoMoreThanItHasRoomFor) {
    Fd listener = listen();
    Fd socket = connect_guest(listener);
    VsockHeader room = packet(Operation::CreditUpdate, 100, 7);
    room.buffer_size = 10;
    say(room);
    write(socket, "0123456789abcdef");
    poll_once();
    EXPECT_EQ(hear().data, "0123456789");
    EXPECT_EQ(next(), Operation::CreditRequest);
    EXPECT_FALSE(host->has_packet());
    room.forwarded = 4;
    say(room);
    poll_once();
    EXPECT_EQ(hear().data, "abcd");
    room.buffer_size = 0;  // less than is on its way
    say(room);
    EXPECT_EQ(next(), Operation::CreditRequest);
    room.buffer_size = 100;
    room.forwarded = 14;
    say(room);
    EXPECT_EQ(hear().data, "ef");
}

TEST_F(VsockTest, TheHostTakesAsMuchAsItSays) {
    Fd listener = listen();
    Fd socket = connect_guest(listener);
    std::string sent;
    std::string got;
    // The socket is full before our room is.
    for (std::uint32_t part = 0; part < 4; ++part) {
        std::string data(64 << 10, static_cast<char>('a' + part));
        sent += data;
        say(packet(Operation::Data, 100, 7), data);
    }
    for (int left = 100; left > 0 && got.size() < sent.size(); --left) {
        got += read(socket);
        poll_once();
    }
    EXPECT_EQ(got, sent);
    Heard credit = hear();
    EXPECT_EQ(credit.header.operation, Operation::CreditUpdate);
    EXPECT_EQ(credit.header.buffer_size, VsockConnection::room);

    std::uint32_t before = credit.header.forwarded;
    EXPECT_GE(before, VsockConnection::room / 2);
    for (std::uint32_t n = 0; n < 64; ++n) say(packet(Operation::Data, 100, 7), std::string(64 << 10, 'x'));
    EXPECT_EQ(next(), Operation::Reset) << "more than there was room for";
}

TEST_F(VsockTest, EachSideMayEndItsHalf) {
    Fd listener = listen();
    Fd socket = connect_guest(listener);
    VsockHeader end = packet(Operation::Shutdown, 100, 7);
    end.flags = VsockHeader::NoSend;
    say(packet(Operation::Data, 100, 7), "last");
    say(end);
    EXPECT_EQ(read(socket), "last");
    EXPECT_EQ(read(socket), "end");
    write(socket, "still");
    poll_once();
    EXPECT_EQ(hear().data, "still");
    shutdown(socket.get(), SHUT_WR);
    poll_once();
    Heard ended = hear();
    EXPECT_EQ(ended.header.operation, Operation::Shutdown);
    EXPECT_NE(ended.header.flags & VsockHeader::NoSend, 0u);
    end.flags = VsockHeader::Nothing;
    say(end);
    EXPECT_EQ(next(), Operation::Reset);
    say(packet(Operation::Data, 100, 7), "x");
    EXPECT_EQ(next(), Operation::Reset) << "it is gone";
}

TEST_F(VsockTest, AHostThatHangsUpHasItsLastWordsHeard) {
    Fd listener = listen();
    {
        Fd socket = connect_guest(listener);
        write(socket, "bye");
    }
    // What the guest sends meanwhile finds nobody, which must not cost what is unread.
    say(packet(Operation::Data, 100, 7), "are you there?");
    poll_once();
    std::string heard;
    std::uint32_t flags = 0;
    for (int left = 10; left > 0; --left) {
        poll_once();
        Heard next = hear();
        heard += next.data;
        if (next.header.operation == Operation::Shutdown) flags |= next.header.flags;
    }
    EXPECT_EQ(heard, "bye");
    EXPECT_EQ(flags, VsockHeader::Nothing);
    polls.clear();
    host->add_polls(polls, true);
    EXPECT_EQ(polls.size(), 1u) << "nothing is waited for but callers";
}

TEST_F(VsockTest, AResetEndsAllConnections) {
    Fd listener = listen();
    Fd socket = connect_guest(listener);
    Fd caller = call("CONNECT 1\n");
    host->reset();
    EXPECT_EQ(read(socket), "end");
    EXPECT_EQ(read(caller), "end");
    EXPECT_FALSE(host->has_packet());
}

TEST_F(VsockTest, ConnectionsTakeTurns) {
    Fd listener = listen();
    std::vector<Fd> sockets;
    for (std::uint32_t port = 1; port <= 3; ++port) {
        say(packet(Operation::Request, port, 7));
        EXPECT_EQ(next(), Operation::Response);
        sockets.emplace_back(accept(listener.get(), nullptr, nullptr));
        write(sockets.back(), std::string(100, 'x'));
    }
    poll_once();
    std::vector<std::uint32_t> order;
    for (int n = 0; n < 6; ++n) order.push_back(hear(10).header.destination_port);
    EXPECT_EQ(order, (std::vector<std::uint32_t>{1, 2, 3, 1, 2, 3}));
}

TEST_F(VsockTest, ThereIsABoundOnConnections) {
    Fd listener = *listen_at_socket(path + "_7");
    std::size_t refused = 0;
    for (std::uint32_t port = 0; port < 600; ++port) {
        say(packet(Operation::Request, port, 7));
        refused += next() == Operation::Reset ? 1 : 0;
        open.emplace_back(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
    }
    EXPECT_EQ(refused, 600 - VsockHost::most_connections);
}

TEST(VsockNames, PathAndCid) {
    EXPECT_EQ(vsock_named("/run/a.sock")->path, "/run/a.sock");
    EXPECT_EQ(vsock_named("/run/a.sock")->cid, 3u);
    EXPECT_EQ(vsock_named("a,b,cid=42")->path, "a,b");
    EXPECT_EQ(vsock_named("a,b,cid=42")->cid, 42u);
    EXPECT_EQ(vsock_named(",cid=42").error().message, "vsock ',cid=42': its path is missing");
    for (const char* wrong : {"a,cid=2", "a,cid=", "a,cid=x", "a,cid=4294967295"})
        EXPECT_EQ(vsock_named(wrong).error().message,
                  "vsock '" + std::string{wrong} + "': its cid is not from 3 to 4294967294");
}

TEST(VsockNames, ASocketThatIsThereIsNotTaken) {
    std::string path = testing::TempDir() + "undercroft-vsock-taken-" + std::to_string(getpid());
    auto first = VsockHost::open({.path = path});
    ASSERT_TRUE(first);
    EXPECT_EQ(VsockHost::open({.path = path}).error().message,
              "vsock '" + path + "': Address already in use");
    *first = nullptr;
    EXPECT_FALSE(std::filesystem::exists(path));
    // One that was left behind is.
    { Fd left = *listen_at_socket(path); }
    EXPECT_TRUE(VsockHost::open({.path = path}));
}

}  // namespace
}  // namespace undercroft
