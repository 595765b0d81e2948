// SPDX-License-Identifier: Apache-2.0
// VirtioVsock: a socket device for the guest (virtio 1.2 section 5.10): streams between programs in the guest
// and on the host, without a network. Queues: receive, transmit, events (of which there are none). Left out:
// SOCK_SEQPACKET.
//
// The thread that serves it does, in turn, what the guest wants (serve()) and what the host's sockets have
// got (handle()).

#pragma once

#include "virtio/device.hpp"
#include "virtio/queue_server.hpp"
#include "vsock/host.hpp"

#include <poll.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

namespace undercroft {

class VirtioVsock final : public VirtioDevice {
public:
    // `lock` is that of the machine's devices. All of them outlive the device.
    VirtioVsock(VsockHost& host, const DmaMemory& memory, std::mutex& lock)
        : host_{host}, transmitter_{memory, lock}, receiver_{memory, lock} {}

    // Who makes a thread call serve(). Before the guest runs.
    void on_work(std::function<void()> ask);
    // The thread's, without the lock: does some of what there is to do. True: there may be more.
    bool serve();
    // What the thread waits for besides, and what came of it.
    void add_polls(std::vector<pollfd>& polls, int& timeout_ms);
    void handle(std::span<const pollfd> polls) { host_.handle(polls); }

    VirtioDeviceId id() const override { return VirtioDeviceId::Socket; }
    std::uint64_t features() const override { return Feature::Stream; }
    unsigned queue_count() const override { return 3; }
    std::uint8_t config(std::uint64_t offset) const override;
    void start(std::uint64_t agreed_features, std::span<Queue> queues, VirtioTransport& transport) override;
    void notify(unsigned queue) override;
    void reset() override;

private:
    struct Feature {
        static constexpr std::uint64_t Stream = 1ull << 0;
    };
    static constexpr unsigned receive_queue = 0, transmit_queue = 1;

    // Both: why the request breaks the device, or null.
    const char* transmit(Chain& request);
    const char* receive(QueueServer::Request& request);

    VsockHost& host_;
    QueueServer transmitter_;
    QueueServer receiver_;
    bool guest_has_room_ = false;  // of the thread: there were buffers for all packets
};

}  // namespace undercroft
