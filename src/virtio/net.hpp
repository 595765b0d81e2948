// SPDX-License-Identifier: Apache-2.0
// VirtioNet: a network device for the guest (virtio 1.2 section 5.1), with one queue in each direction:
// receive, transmit. Left out: the control queue (so the device takes frames for every address), several
// queues, UDP segmentation.
//
// The thread that serves it does, in turn, what the guest wants (serve()) and what its backend has got
// (handle()).

#pragma once

#include "net/backend.hpp"
#include "virtio/device.hpp"
#include "virtio/net_receiver.hpp"
#include "virtio/queue_server.hpp"

#include <cstdint>
#include <functional>
#include <mutex>

namespace undercroft {

class VirtioNet final : public VirtioDevice {
public:
    struct Feature {
        static constexpr std::uint64_t Checksum = 1ull << 0;
        static constexpr std::uint64_t GuestChecksum = 1ull << 1;
        static constexpr std::uint64_t Mtu = 1ull << 3;
        static constexpr std::uint64_t Mac = 1ull << 5;
        static constexpr std::uint64_t GuestTso4 = 1ull << 7;
        static constexpr std::uint64_t GuestTso6 = 1ull << 8;
        static constexpr std::uint64_t HostTso4 = 1ull << 11;
        static constexpr std::uint64_t HostTso6 = 1ull << 12;
        static constexpr std::uint64_t MergeBuffers = 1ull << 15;
        static constexpr std::uint64_t Status = 1ull << 16;
    };

    // `lock` is that of the machine's devices. All of them outlive the device.
    VirtioNet(NetBackend& backend, const MacAddress& address, const DmaMemory& memory, std::mutex& lock);
    ~VirtioNet() override { backend_.attach(nullptr); }

    // Who makes a thread call serve(). Before the guest runs.
    void on_work(std::function<void()> ask);
    // The thread's, without the lock: does some of what there is to do. True: there may be more.
    bool serve();
    // What the thread waits for besides, and what came of it.
    void add_polls(std::vector<pollfd>& polls, int& timeout_ms) { backend_.add_polls(polls, timeout_ms); }
    void handle(std::span<const pollfd> polls) { backend_.handle(polls); }

    VirtioDeviceId id() const override { return VirtioDeviceId::Network; }
    std::uint64_t features() const override;
    unsigned queue_count() const override { return 2; }
    std::uint8_t config(std::uint64_t offset) const override;
    void start(std::uint64_t agreed_features, std::span<Queue> queues, VirtioTransport& transport) override;
    void notify(unsigned) override { server_.notify(); }
    void reset() override;

private:
    static constexpr unsigned receive_queue = 0, transmit_queue = 1;

    // Why the request breaks the device, or null.
    const char* transmit(Chain& request);
    bool may_pass(const OffloadHeader& offload, std::size_t size) const;

    NetBackend& backend_;
    MacAddress address_;
    NetReceiver receiver_;
    QueueServer server_;  // transmits
    // Written under the lock while nothing is at hand, read by who serves.
    std::uint64_t agreed_ = 0;
};

}  // namespace undercroft
