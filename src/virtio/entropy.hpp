// SPDX-License-Identifier: Apache-2.0
// VirtioEntropy: randomness of the host's for the guest (virtio 1.2 section 5.4). One queue of buffers, which
// are filled from the host's kernel (getrandom(2)).

#pragma once

#include "virtio/device.hpp"
#include "virtio/queue_server.hpp"

#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <utility>

namespace undercroft {

class VirtioEntropy final : public VirtioDevice {
public:
    // A driver that asks for more at once gets so much.
    static constexpr std::uint32_t most_at_once = 64u << 10;

    // `lock` is that of the machine's devices. All of them outlive the device.
    VirtioEntropy(const DmaMemory& memory, std::mutex& lock) : server_{memory, lock} {}

    // Who makes a thread call serve(), see QueueServer.
    void on_work(std::function<void()> ask) { server_.on_work(std::move(ask)); }
    void serve();

    VirtioDeviceId id() const override { return VirtioDeviceId::Entropy; }
    std::uint64_t features() const override { return 0; }
    unsigned queue_count() const override { return 1; }
    std::uint8_t config(std::uint64_t) const override { return 0; }
    void start(std::uint64_t, std::span<Queue> queues, VirtioTransport& transport) override {
        server_.start(queues, transport);
    }
    void notify(unsigned) override { server_.notify(); }
    void reset() override { server_.reset(); }

private:
    QueueServer server_;
};

}  // namespace undercroft
