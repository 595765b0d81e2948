// SPDX-License-Identifier: Apache-2.0
// VirtioFileSystem: a folder of the host for the guest (virtio 1.2 section 5.11, "virtiofs"), which mounts it
// by its tag. A queue for what the guest forgets, and one for requests, which are served in turn. Left out:
// the DAX window and notifications.

#pragma once

#include "share/folder_server.hpp"
#include "virtio/queue_server.hpp"

#include <functional>
#include <string>
#include <utility>

namespace undercroft {

class VirtioFileSystem final : public VirtioDevice {
public:
    static constexpr std::size_t longest_tag = 36;

    // `lock` is that of the machine's devices. All of them outlive the device.
    VirtioFileSystem(FolderServer& folder, const DmaMemory& memory, std::mutex& lock, std::string tag)
        : folder_{folder}, tag_{std::move(tag)}, server_{memory, lock} {}

    // Who makes a thread of the device's own call serve(), see QueueServer.
    void on_work(std::function<void()> ask) { server_.on_work(std::move(ask)); }
    void serve();

    VirtioDeviceId id() const override { return VirtioDeviceId::FileSystem; }
    std::uint64_t features() const override { return 0; }
    unsigned queue_count() const override { return 2; }
    std::uint8_t config(std::uint64_t offset) const override;
    void start(std::uint64_t, std::span<Queue> queues, VirtioTransport& transport) override {
        server_.start(queues, transport);
    }
    void notify(unsigned) override { server_.notify(); }
    void reset() override { server_.reset(); }

private:
    FolderServer& folder_;
    std::string tag_;
    QueueServer server_;
    bool has_own_umask_ = false;  // of the thread
};

}  // namespace undercroft
