// SPDX-License-Identifier: Apache-2.0
// Networks without a guest: names, checksums, the switch, ports of the host's.
#include "base/fd.hpp"
#include "net/checksum.hpp"
#include "net/choice.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace undercroft {
namespace {

TEST(Checksum, ThatOfRfc1071) {
    std::array<std::uint8_t, 8> bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    std::uint16_t sum = internet_checksum(std::as_bytes(std::span{bytes}));
    EXPECT_EQ(ntohs(sum), 0xffff - 0xddf2) << "section 3";
}

TEST(Checksum, OfAnyLength) {
    std::vector<std::uint8_t> bytes;
    for (unsigned n = 0; n < 70'000; ++n) bytes.push_back(static_cast<std::uint8_t>(n * 37 + n / 251));
    for (std::size_t size : {0u, 1u, 2u, 3u, 4u, 5u, 1499u, 65'535u, 70'000u}) {
        std::uint32_t sum = 0;
        for (std::size_t at = 0; at < size; ++at) {
            sum += at % 2 == 0 ? bytes[at] * 256u : bytes[at];
            sum = (sum & 0xffff) + (sum >> 16);
        }
        EXPECT_EQ(ntohs(internet_checksum(std::as_bytes(std::span{bytes}.first(size)))), 0xffff - sum)
            << size;
    }
}

TEST(Checksum, IsStoredWhereTheDriverWantsIt) {
    std::array<std::uint8_t, 20> frame{};
    for (std::size_t n = 14; n < frame.size(); ++n) frame[n] = static_cast<std::uint8_t>(n);
    OffloadHeader offload{.flags = OffloadHeader::NeedsChecksum, .csum_start = 14, .csum_offset = 4};
    complete_checksum(std::as_writable_bytes(std::span{frame}), offload);
    EXPECT_EQ(offload.flags, 0);
    std::uint16_t sum = 0;
    std::memcpy(&sum, &frame[18], sizeof sum);
    // Over 14 15 16 17 18 19, the last two being what was there before.
    EXPECT_EQ(ntohs(sum), 0xffff - (0x0e0f + 0x1011 + 0x1213));
    EXPECT_EQ(frame[13], 0) << "nothing before it is touched";
    // Bytes that sum up to zero: zero would say that there is no sum.
    std::array<std::uint8_t, 18> ones{};
    ones[14] = ones[15] = 0xff;
    complete_checksum(std::as_writable_bytes(std::span{ones}),
                      offload = {.flags = 1, .csum_start = 14, .csum_offset = 2});
    EXPECT_EQ(ones[16], 0xff);
    EXPECT_EQ(ones[17], 0xff);
}

TEST(Networks, AsWritten) {
    EXPECT_EQ(network_named("user")->kind, NetChoice::Kind::User);
    auto restricted = network_named("user,restricted,mac=52:54:00:12:34:5f");
    EXPECT_EQ(restricted->reach, UserNetwork::Reach::Restricted);
    EXPECT_EQ(*restricted->address, (MacAddress{0x52, 0x54, 0, 0x12, 0x34, 0x5f}));
    auto lan = network_named("switch:lan0");
    EXPECT_EQ(lan->kind, NetChoice::Kind::Switch);
    EXPECT_EQ(lan->name, "lan0");
    EXPECT_EQ(network_named("tap:tap0")->kind, NetChoice::Kind::Tap);
}

TEST(Networks, ThatAreRefused) {
    auto reason = [](const std::string& text) { return network_named(text).error().message; };
    EXPECT_EQ(reason("bridge"), "network 'bridge': not one of user, tap:NAME, switch:NAME");
    EXPECT_EQ(reason("user:x"), "network 'user:x': not one of user, tap:NAME, switch:NAME");
    EXPECT_EQ(reason(""), "network '': not one of user, tap:NAME, switch:NAME");
    EXPECT_EQ(reason("tap"), "network 'tap': its name is missing");
    EXPECT_EQ(reason("switch:"), "network 'switch:': its name is missing");
    EXPECT_EQ(reason("switch:a,restricted"), "network 'switch:a,restricted': only 'user' can be restricted");
    EXPECT_EQ(reason("user,fast"), "network 'user,fast': unknown option 'fast'");
    EXPECT_EQ(reason("user,mac=52:54"),
              "network 'user,mac=52:54': 'mac=52:54' is not like mac=52:54:00:12:34:56");
    EXPECT_EQ(reason("user,mac=01:54:00:12:34:5f"),
              "network 'user,mac=01:54:00:12:34:5f': 'mac=01:54:00:12:34:5f' is an address of a group");
    EXPECT_FALSE(network_named("user,mac=52:54:00:12:34:5g"));
    EXPECT_FALSE(network_named("user,mac=52:54:00:12:34 5f"));
}

TEST(Networks, AddressesDifferByMachineAndDevice) {
    EXPECT_EQ(usual_address("a", 0), usual_address("a", 0));
    EXPECT_NE(usual_address("a", 0), usual_address("b", 0));
    EXPECT_NE(usual_address("a", 0), usual_address("a", 1));
    EXPECT_EQ(usual_address("a", 0)[0] & 3, 2) << "of one station, locally administered";
}

TEST(Ports, AsWritten) {
    auto port = port_forward_named("8080:80");
    EXPECT_FALSE(port->udp);
    EXPECT_EQ(port->host_port, 8080);
    EXPECT_EQ(port->guest_port, 80);
    EXPECT_EQ(port->host_address.s_addr, htonl(INADDR_LOOPBACK));
    EXPECT_EQ(port_forward_named("tcp:127.0.0.1:8080:80")->host_port, 8080);
    auto udp = port_forward_named("udp:0.0.0.0:53:53");
    EXPECT_TRUE(udp->udp);
    EXPECT_EQ(udp->host_address.s_addr, 0u);
    for (const char* wrong : {"80", "", ":", "0:80", "80:0", "65536:80", "80:-1", "x:80", "80:80x", "tcp:80",
                              "1.2.3:80:80", "a:b:c", "80:80:80:80"})
        EXPECT_FALSE(port_forward_named(wrong)) << wrong;
}

TEST(Ports, ThatAreTakenAreRefused) {
    Fd taken{socket(AF_INET, SOCK_STREAM, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(bind(taken.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(listen(taken.get(), 1), 0);
    ASSERT_EQ(getsockname(taken.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    std::string text = std::to_string(ntohs(address.sin_port)) + ":80";
    auto network = UserNetwork::open(UserNetwork::Reach::All, {*port_forward_named(text)});
    ASSERT_FALSE(network);
    EXPECT_EQ(network.error().message, "port 127.0.0.1:" + text + ": Address already in use");
    taken.reset();
    EXPECT_TRUE(UserNetwork::open(UserNetwork::Reach::All, {*port_forward_named(text)}));
}

// A machine at a switch.
struct Station final : NetPort {
    explicit Station(const std::shared_ptr<Switch>& to) : backend{Switch::connect(to)} {
        backend->attach(this);
    }
    void receive(const Frame& frame) override {
        std::string bytes(frame.size, '\0');
        frame.copy_front(std::as_writable_bytes(std::span{bytes}));
        frames.push_back(bytes);
    }
    void received() override { ++told; }
    void send(char to, char from) {
        std::string bytes(60, 'x');
        std::fill_n(bytes.begin(), 6, to);
        std::fill_n(bytes.begin() + 6, 6, from);
        iovec first{bytes.data(), 9};
        iovec second{bytes.data() + 9, bytes.size() - 9};
        std::array pieces{first, second};
        backend->send({.offload = {}, .pieces = pieces, .size = bytes.size()});
        backend->sent();
    }

    std::unique_ptr<NetBackend> backend;
    std::vector<std::string> frames;
    unsigned told = 0;
};

// Addresses are six times the same byte, which is even for a single station.
constexpr char everybody = '\xff';

TEST(Switch, LearnsWhoIsWhere) {
    auto lan = std::make_shared<Switch>("lan");
    Station a{lan}, b{lan}, c{lan};
    EXPECT_EQ(a.backend->name(), "switch:lan");
    a.send('D', 'B');  // which is unknown, so to all others
    EXPECT_EQ(a.frames.size(), 0u);
    EXPECT_EQ(b.frames.size(), 1u);
    EXPECT_EQ(c.frames.size(), 1u);
    EXPECT_EQ(c.frames[0].substr(0, 13), "DDDDDDBBBBBBx");
    EXPECT_EQ(c.told, 1u);
    EXPECT_EQ(a.told, 0u);
}

TEST(Switch, SendsToTheOneItKnows) {
    auto lan = std::make_shared<Switch>("lan");
    Station a{lan}, b{lan}, c{lan};
    a.send(everybody, 'B');
    b.send('B', 'D');
    EXPECT_EQ(a.frames.size(), 1u);
    EXPECT_EQ(c.frames.size(), 1u) << "only the first one, which was for all";
    a.send('D', 'B');
    EXPECT_EQ(b.frames.size(), 2u);
    EXPECT_EQ(c.frames.size(), 1u);
    // It has moved.
    c.send(everybody, 'D');
    a.send('D', 'B');
    EXPECT_EQ(b.frames.size(), 3u) << "the one for all";
    EXPECT_EQ(c.frames.size(), 2u);
    // It is gone: nobody knows it.
    c.backend->attach(nullptr);
    a.send('D', 'B');
    EXPECT_EQ(b.frames.size(), 4u);
    EXPECT_EQ(c.frames.size(), 2u);
}

TEST(Switch, ForgetsRatherThanGrows) {
    auto lan = std::make_shared<Switch>("lan");
    Station a{lan}, b{lan};
    for (unsigned n = 0; n < 10'000; ++n) {
        std::array<std::byte, 60> bytes{};
        std::memset(bytes.data(), everybody, 6);
        std::memcpy(bytes.data() + 8, &n, sizeof n);
        iovec piece{bytes.data(), bytes.size()};
        a.backend->send({.offload = {}, .pieces = {&piece, 1}, .size = bytes.size()});
    }
    EXPECT_EQ(b.frames.size(), 10'000u);
    b.send('D', 'F');
    EXPECT_EQ(a.frames.size(), 1u);
    a.send('F', 'D');
    EXPECT_EQ(b.frames.size(), 10'001u) << "and goes on";
}

TEST(Switch, OneOfAName) {
    Switches all;
    EXPECT_EQ(all.named("a"), all.named("a"));
    EXPECT_NE(all.named("a"), all.named("b"));
}

}  // namespace
}  // namespace undercroft
