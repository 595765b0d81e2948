// SPDX-License-Identifier: Apache-2.0
// VirtioBlock: a disk for the guest (virtio 1.2 section 5.2). As many queues as the guest has processors,
// up to a limit, so that these need not wait for each other; requests in flight are served in turn.

#pragma once

#include "virtio/block_request.hpp"
#include "virtio/device.hpp"
#include "virtio/queue_server.hpp"

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

namespace undercroft {

class VirtioBlock final : public VirtioDevice {
public:
    struct Feature {
        static constexpr std::uint64_t SegMax = 1ull << 2;
        static constexpr std::uint64_t ReadOnly = 1ull << 5;
        static constexpr std::uint64_t BlockSize = 1ull << 6;
        static constexpr std::uint64_t Flush = 1ull << 9;
        static constexpr std::uint64_t Topology = 1ull << 10;
        static constexpr std::uint64_t MultiQueue = 1ull << 12;
        static constexpr std::uint64_t Discard = 1ull << 13;
        static constexpr std::uint64_t WriteZeroes = 1ull << 14;
    };

    // `lock` is that of the machine's devices; `serial` is what get-id says. All of them outlive the device.
    VirtioBlock(Disk& disk, const DmaMemory& memory, std::mutex& lock, std::string serial,
                unsigned processors = 1);

    // Who makes a thread call serve(), see QueueServer.
    void on_work(std::function<void()> ask) { server_.on_work(std::move(ask)); }
    void serve();

    VirtioDeviceId id() const override { return VirtioDeviceId::Block; }
    std::uint64_t features() const override;
    unsigned queue_count() const override { return queues_; }
    std::uint8_t config(std::uint64_t offset) const override;
    void start(std::uint64_t agreed_features, std::span<Queue> queues, VirtioTransport& transport) override;
    void notify(unsigned) override { server_.notify(); }
    void reset() override;

private:
    void tell_origin(const Chain& chain) const;

    const char* serve(QueueServer::Request& request);

    static constexpr unsigned most_queues = 8;

    const DmaMemory& memory_;
    unsigned queues_;
    BlockContext context_;  // of who serves, but for start()
    QueueServer server_;
};

}  // namespace undercroft
