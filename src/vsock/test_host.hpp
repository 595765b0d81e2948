// SPDX-License-Identifier: Apache-2.0
// A VsockHost between a guest's driver and the host's programs, both played by a test.

#pragma once

#include "base/unix_socket.hpp"
#include "vsock/host.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace undercroft::test {

using Operation = VsockOperation;

struct VsockTest : testing::Test {
    static constexpr std::uint32_t cid = 5;

    std::string path = testing::TempDir() + "undercroft-vsock-" + std::to_string(getpid());
    std::unique_ptr<VsockHost> host = *VsockHost::open({.path = path, .cid = cid});
    std::vector<pollfd> polls;
    std::vector<Fd> open;

    void SetUp() override { host->start(); }
    void TearDown() override { std::filesystem::remove(path + "_7"); }

    // What the device's thread does when something has happened on the host.
    void poll_once() {
        polls.clear();
        host->add_polls(polls, true);
        poll(polls.data(), polls.size(), 0);
        host->handle(polls);
    }
    VsockHeader packet(Operation operation, std::uint32_t guest, std::uint32_t to) const {
        return {.source_cid = cid,
                .destination_cid = vsock_host_cid,
                .source_port = guest,
                .destination_port = to,
                .operation = operation,
                .buffer_size = 65536};
    }
    void say(VsockHeader header, std::string data = {}) {
        header.length = static_cast<std::uint32_t>(data.size());
        Buffers bytes;
        if (!data.empty()) bytes.add(reinterpret_cast<std::byte*>(data.data()), data.size());
        host->take(header, bytes);
    }
    struct Heard {
        VsockHeader header;
        std::string data;
    };
    // The next packet for the guest, or one of operation Invalid.
    Heard hear(std::size_t room = 4096) {
        std::vector<std::byte> bytes(sizeof(VsockHeader) + room);
        Buffers buffers;
        buffers.add(bytes.data(), bytes.size());
        std::size_t size = host->put(buffers);
        Heard heard;
        if (size == 0) return heard;
        std::memcpy(&heard.header, bytes.data(), sizeof heard.header);
        heard.data.assign(reinterpret_cast<char*>(bytes.data()) + sizeof heard.header,
                          size - sizeof heard.header);
        EXPECT_EQ(heard.header.length, heard.data.size());
        EXPECT_EQ(heard.header.destination_cid, cid);
        return heard;
    }
    Operation next() { return hear().header.operation; }

    Fd call(const std::string& line) {
        Fd fd = *connect_to_socket(path);
        write(fd, line);
        poll_once();
        poll_once();
        return fd;
    }
    static void write(const Fd& fd, const std::string& bytes) {
        ASSERT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(bytes.size()));
    }
    // What is there now; "end" at the end, whether or not the other side has read all.
    static std::string read(const Fd& fd) {
        std::array<char, 65536> bytes;
        ssize_t got = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno == ECONNRESET)) return "end";
        return got < 0 ? "" : std::string{bytes.data(), static_cast<std::size_t>(got)};
    }
    // The guest connects to port 7 of the host. Returns the host's socket.
    Fd connect_guest(const Fd& listener) {
        say(packet(Operation::Request, 100, 7));
        EXPECT_EQ(next(), Operation::Response);
        Fd socket{accept(listener.get(), nullptr, nullptr)};
        EXPECT_TRUE(socket);
        return socket;
    }
    Fd listen() { return *listen_at_socket(path + "_7"); }
};

}  // namespace undercroft::test
