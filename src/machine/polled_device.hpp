// SPDX-License-Identifier: Apache-2.0
// PolledDevice: a virtio device in a slot of the board, with its transport and the thread that serves it and
// whatever of the host's it is connected to.

#pragma once

#include "machine/board.hpp"
#include "machine/event_loop.hpp"
#include "virtio/mmio.hpp"

#include <poll.h>

#include <atomic>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace undercroft {

// `Device` is a VirtioDevice with on_work(), and for the thread, in turn: serve(), which returns whether
// there may be more to do; add_polls(), which adds files to wait for and makes the time-out shorter
// (poll(2)); and handle(), which gets what it added.
template <class Device>
class PolledDevice {
public:
    // Before the guest runs. `name` is for the log; `arguments` make the device. The memory and the board
    // outlive it; and so does whoever the board tells of interrupts.
    template <class... Arguments>
    PolledDevice(unsigned slot, std::string name, Doorbell bell, const DmaMemory& memory, Board& board,
                 Arguments&&... arguments)
        : board_{board},
          bell_{std::move(bell)},
          device_{std::forward<Arguments>(arguments)...},
          transport_{device_, memory, [&board, slot](bool level) { board.set_virtio_line(slot, level); },
                     std::move(name)} {
        device_.on_work([this] { ask(); });
        board.attach_virtio(slot, transport_);
        thread_ = std::thread{[this] { run(); }};
    }
    PolledDevice(const PolledDevice&) = delete;
    PolledDevice& operator=(const PolledDevice&) = delete;
    // Others' threads may come by until the device is reset: they find no queue then.
    ~PolledDevice() {
        ending_ = true;
        bell_.ring();
        thread_.join();
        std::lock_guard lock{board_.lock()};
        device_.reset();
    }

private:
    void ask() {
        if (!asked_.exchange(true)) bell_.ring();
    }

    void run() {
        std::vector<pollfd> polls;
        while (!ending_) {
            asked_ = false;
            int timeout_ms = device_.serve() ? 0 : -1;
            polls.clear();
            polls.push_back({.fd = bell_.fd(), .events = POLLIN, .revents = 0});
            device_.add_polls(polls, timeout_ms);
            if (poll(polls.data(), polls.size(), timeout_ms) < 0) continue;  // a signal
            if (polls[0].revents != 0) bell_.acknowledge();
            device_.handle(std::span{polls}.subspan(1));
        }
        while (device_.serve()) {
        }  // the guest's last words
    }

    Board& board_;
    Doorbell bell_;
    std::atomic<bool> asked_{false};  // so the bell need not ring
    std::atomic<bool> ending_{false};
    Device device_;
    MmioTransport transport_;
    std::thread thread_;
};

}  // namespace undercroft
