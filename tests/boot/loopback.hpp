// SPDX-License-Identifier: Apache-2.0
// Addresses and ports of the host's 127.0.0.1.

#pragma once

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>

namespace undercroft {

inline sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

// Any free port, bound to a socket: of 127.0.0.1 alone, or of all addresses.
struct BoundSocket {
    explicit BoundSocket(in_addr_t at = INADDR_LOOPBACK) {
        sockaddr_in address = loopback(0);
        address.sin_addr.s_addr = htonl(at);
        socklen_t size = sizeof address;
        EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
        EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
        port = ntohs(address.sin_port);
    }
    ~BoundSocket() { close(fd); }
    BoundSocket(const BoundSocket&) = delete;
    BoundSocket& operator=(const BoundSocket&) = delete;

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    std::uint16_t port = 0;
};

// A port that nobody has now.
inline std::uint16_t free_port() { return BoundSocket{}.port; }

}  // namespace undercroft
