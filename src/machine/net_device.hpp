// SPDX-License-Identifier: Apache-2.0
// NetDevice: a network device in a virtio slot of the board, and the thread that serves it and its backend.

#pragma once

#include "machine/board.hpp"
#include "machine/event_loop.hpp"
#include "virtio/mmio.hpp"
#include "virtio/net.hpp"

#include <atomic>
#include <memory>
#include <thread>

namespace undercroft {

// A network that a machine is connected to.
struct NetConnection {
    std::unique_ptr<NetBackend> backend;
    MacAddress address{};
};

class NetDevice {
public:
    // Before the guest runs. All of them outlive it; and so does whoever the board tells of interrupts.
    NetDevice(unsigned slot, const NetConnection& network, Doorbell bell, const DmaMemory& memory,
              Board& board);
    NetDevice(const NetDevice&) = delete;
    NetDevice& operator=(const NetDevice&) = delete;
    ~NetDevice();

private:
    void ask();
    void run();

    NetBackend& backend_;
    Doorbell bell_;
    std::atomic<bool> asked_{false};  // so the bell need not ring
    std::atomic<bool> ending_{false};
    VirtioNet net_;
    MmioTransport transport_;
    std::thread thread_;
};

}  // namespace undercroft
