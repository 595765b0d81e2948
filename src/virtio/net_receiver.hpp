// SPDX-License-Identifier: Apache-2.0
// NetReceiver: the receive queue of a network device (virtio 1.2 section 5.1.6.4): puts frames into the
// buffers that the driver has laid out. What finds none waits, up to a limit, and is dropped beyond it.
//
// Frames may come from other machines' threads (net/switch.hpp), which must not wait for the lock of this
// machine's devices: whoever holds it may be waiting for them. So the queue has a lock of its own, which is
// taken after that one; and the interrupt is left to the device's thread if the other lock is not free.

#pragma once

#include "net/backend.hpp"
#include "virtio/device.hpp"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace undercroft {

// What a driver has agreed on.
struct NetAgreement {
    bool checksum = false;  // it completes and verifies checksums itself where it is told to
    bool merge = false;     // a frame may fill several of its buffers
};

class NetReceiver final : public NetPort {
public:
    // `lock` is that of the machine's devices; both outlive it.
    NetReceiver(const DmaMemory& memory, std::mutex& lock) : memory_{memory}, lock_{lock} {}

    // Who makes the device's thread call settle() and take_waiting(). Before the guest runs.
    void on_work(std::function<void()> ask) { ask_ = std::move(ask); }

    // Under the lock, as VirtioDevice.
    void start(Queue& queue, const NetAgreement& agreed, VirtioTransport& transport);
    void reset();

    void receive(const Frame& frame) override;
    void received() override;

    // The device's thread, without any lock. The driver may have laid out more buffers:
    void take_waiting();
    // Tells the driver what others could not.
    void settle();

private:
    static constexpr std::size_t most_waiting_bytes = std::size_t{2} << 20;

    struct Waiting {
        OffloadHeader offload;
        std::vector<std::byte> bytes;
    };

    // Under `mutex_`. False: there is no room.
    bool deliver(const Frame& frame);
    bool deliver_waiting();
    bool take_room(std::size_t bytes);
    bool fill(const Frame& frame);
    void keep(const Frame& frame);
    bool break_down(const char* why);
    Frame finished(const Frame& frame);

    void tell();  // under both locks

    const DmaMemory& memory_;
    std::mutex& lock_;
    std::function<void()> ask_ = [] {};

    std::mutex mutex_;                      // protects what follows
    Queue* queue_ = nullptr;                // while it runs
    VirtioTransport* transport_ = nullptr;  // under both locks
    NetAgreement agreed_;
    std::vector<Chain> chains_;  // what is being filled; the rest keeps its room
    std::size_t count_ = 0;
    std::deque<Waiting> waiting_;
    std::size_t waiting_bytes_ = 0;
    std::vector<std::byte> scratch_;
    iovec scratch_piece_{};
    const char* fault_ = nullptr;  // to be told

    std::atomic<bool> untold_{false};  // the driver has not been told of something yet
};

}  // namespace undercroft
