// SPDX-License-Identifier: Apache-2.0
// The socket device as its driver sees it; what the host answers is tested in vsock/.
#include "virtio/vsock.hpp"

#include "base/unix_socket.hpp"
#include "virtio/test_driver.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>

namespace undercroft::test {
namespace {

struct VirtioVsockTest : testing::Test {
    static constexpr std::uint64_t packet = 0x8000;
    static constexpr std::uint64_t buffer = 0x9000;
    static constexpr unsigned receive = 0, transmit = 1;
    static constexpr std::uint32_t header_size = sizeof(VsockHeader);

    std::string path = testing::TempDir() + "undercroft-virtio-vsock-" + std::to_string(getpid());
    std::unique_ptr<VsockHost> host = *VsockHost::open({.path = path, .cid = 42});
    TestMemory memory;
    std::mutex lock;
    bool line = false;
    std::optional<VirtioVsock> device{std::in_place, *host, memory.device(), lock};
    MmioTransport transport{*device, memory.device(), [this](bool level) { line = level; }, "vsock"};

    void notify_and_serve(unsigned queue) {
        {
            std::lock_guard held{lock};
            test::write(transport, Reg::QueueNotify, queue);
        }
        while (device->serve()) {
        }
    }
    void poll_once() {
        std::vector<pollfd> polls;
        int timeout = 0;
        device->add_polls(polls, timeout);
        poll(polls.data(), polls.size(), timeout);
        device->handle(polls);
        while (device->serve()) {
        }
    }
    // Somebody on the host wants to talk to the guest.
    Fd call() {
        Fd caller = *connect_to_socket(path);
        EXPECT_EQ(send(caller.get(), "CONNECT 9\n", 10, 0), 10);
        poll_once();
        poll_once();
        return caller;
    }
    bool needs_reset() {
        return (read(transport, Reg::Status) & MmioTransport::Status::DEVICE_NEEDS_RESET) != 0;
    }
};

TEST_F(VirtioVsockTest, Configuration) {
    EXPECT_EQ(transport.read(0x008, 4), 19u);
    EXPECT_EQ(transport.read(0x100, 8), 42u);
    EXPECT_EQ(transport.read(0x108, 8), 0u);
}

TEST_F(VirtioVsockTest, PacketsGoToTheGuestWhenItHasRoom) {
    start_driver(transport, 0, 8, receive);
    Fd caller = call();
    EXPECT_EQ(memory.used_index(), 0);
    // Two buffers of two pieces each, of which one is needed: the other stays.
    memory.offer(0, {{buffer, header_size, flag::write}, {buffer + 0x1000, 64, flag::write}});
    memory.offer(2, {{buffer + 0x2000, 100, flag::write}, {buffer + 0x3000, 64, flag::write}});
    notify_and_serve(receive);
    ASSERT_EQ(memory.used_index(), 1);
    EXPECT_EQ(memory.used_element(0), std::pair(0u, header_size));
    auto request = memory.get<VsockHeader>(buffer);
    EXPECT_EQ(request.operation, VsockOperation::Request);
    EXPECT_EQ(request.destination_cid, 42u);
    EXPECT_TRUE(line);

    // The second packet is a reset, as nobody has such a connection.
    VsockHeader stray{.source_cid = 42,
                      .destination_cid = vsock_host_cid,
                      .source_port = 1,
                      .destination_port = 2,
                      .operation = VsockOperation::CreditUpdate};
    Buffers nothing;
    host->take(stray, nothing);
    notify_and_serve(receive);
    ASSERT_EQ(memory.used_index(), 2);
    EXPECT_EQ(memory.used_element(1), std::pair(2u, header_size));
    EXPECT_EQ(memory.get<VsockHeader>(buffer + 0x2000).operation, VsockOperation::Reset);
}

TEST_F(VirtioVsockTest, APacketWithoutItsHeaderBreaksTheDevice) {
    start_driver(transport, 0, 8, transmit);
    memory.offer(0, {{packet, header_size - 1}});
    notify_and_serve(transmit);
    EXPECT_TRUE(needs_reset());
}

TEST_F(VirtioVsockTest, ABufferWithoutRoomBreaksTheDevice) {
    start_driver(transport, 0, 8, receive);
    Fd caller = call();
    memory.offer(0, {{buffer, header_size, flag::write}});
    notify_and_serve(receive);
    EXPECT_TRUE(needs_reset());
}

}  // namespace
}  // namespace undercroft::test
