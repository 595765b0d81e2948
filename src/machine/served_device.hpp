// SPDX-License-Identifier: Apache-2.0
// ServedDevice: a virtio device in a slot of the board, with its transport and the thread that serves it.

#pragma once

#include "machine/board.hpp"
#include "virtio/io_thread.hpp"
#include "virtio/mmio.hpp"

#include <mutex>
#include <string>
#include <utility>

namespace undercroft {

// `Device` is a VirtioDevice with on_work() and serve(), see virtio/queue_server.hpp.
template <class Device>
class ServedDevice {
public:
    // Before the guest runs. `name` is for the log; `arguments` make the device. The memory and the board
    // outlive it; and so does whoever the board tells of interrupts.
    template <class... Arguments>
    ServedDevice(unsigned slot, std::string name, const DmaMemory& memory, Board& board,
                 Arguments&&... arguments)
        : board_{board},
          device_{std::forward<Arguments>(arguments)...},
          transport_{device_, memory, [&board, slot](bool level) { board.set_virtio_line(slot, level); },
                     std::move(name)},
          thread_{[this] { device_.serve(); }} {
        device_.on_work([this] { thread_.ask(); });
        board.attach_virtio(slot, transport_);
    }
    ServedDevice(const ServedDevice&) = delete;
    ServedDevice& operator=(const ServedDevice&) = delete;
    ~ServedDevice() {
        {
            std::lock_guard lock{board_.lock()};
            device_.reset();  // so that the thread has no request to wait with
        }
        device_.on_work([] {});  // whoever else might ask it
    }

    Device& device() { return device_; }  // under the board's lock

private:
    Board& board_;
    Device device_;
    MmioTransport transport_;
    IoThread thread_;  // the first to go
};

}  // namespace undercroft
