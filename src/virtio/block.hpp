// SPDX-License-Identifier: Apache-2.0
// VirtioBlock: a disk for the guest (virtio 1.2 section 5.2). One queue; requests in flight are served in
// turn.
//
// serve() belongs to a thread of its own, which `ask` makes call it. It takes the lock of the machine's
// devices to fetch requests and to give them back, and holds none while the host reads and writes. reset()
// waits until the requests at hand are done, since the driver may use their memory for other things then.

#pragma once

#include "virtio/block_request.hpp"
#include "virtio/busy_gate.hpp"
#include "virtio/device.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace undercroft {

class VirtioBlock final : public VirtioDevice {
public:
    struct Feature {
        static constexpr std::uint64_t SegMax = 1ull << 2;
        static constexpr std::uint64_t ReadOnly = 1ull << 5;
        static constexpr std::uint64_t BlockSize = 1ull << 6;
        static constexpr std::uint64_t Flush = 1ull << 9;
        static constexpr std::uint64_t Discard = 1ull << 13;
        static constexpr std::uint64_t WriteZeroes = 1ull << 14;
    };

    // `lock` is that of the machine's devices; `serial` is what get-id says. All of them outlive the device.
    VirtioBlock(Disk& disk, const DmaMemory& memory, std::mutex& lock, std::string serial);

    // Who makes a thread call serve(). Before the guest runs.
    void on_work(std::function<void()> ask) { ask_ = std::move(ask); }
    // Serves all requests that there are. Without the lock.
    void serve();

    VirtioDeviceId id() const override { return VirtioDeviceId::Block; }
    std::uint64_t features() const override;
    unsigned queue_count() const override { return 1; }
    std::uint8_t config(std::uint64_t offset) const override;
    void start(std::uint64_t agreed_features, std::span<Queue> queues, VirtioTransport& transport) override;
    void notify(unsigned queue) override;
    void reset() override;

private:
    static constexpr std::size_t most_at_once = 16;
    struct Request {
        Chain chain;
        std::uint32_t written = 0;
    };

    // How many requests are at hand now; if none, the driver will notify us of the next.
    std::size_t fetch();
    void give_back(std::uint64_t generation);

    const DmaMemory& memory_;
    std::mutex& lock_;
    std::function<void()> ask_ = [] {};

    // Under `lock_`.
    Queue* queue_ = nullptr;  // while it runs
    VirtioTransport* transport_ = nullptr;
    std::uint64_t generation_ = 0;  // how often it was reset
    bool write_through_ = false;

    // Of the thread that serves.
    BlockContext context_;
    std::array<Request, most_at_once> at_hand_;
    std::size_t count_ = 0;

    BusyGate busy_;  // while guest memory may be read and written
};

}  // namespace undercroft
