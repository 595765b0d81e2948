// SPDX-License-Identifier: Apache-2.0
// BalloonDevice: a balloon in a virtio slot of the board, and the thread that serves it.

#pragma once

#include "machine/board.hpp"
#include "virtio/balloon.hpp"
#include "virtio/io_thread.hpp"
#include "virtio/mmio.hpp"

namespace undercroft {

class BalloonDevice {
public:
    // Before the guest runs. All of them outlive it; and so does whoever the board tells of interrupts.
    BalloonDevice(unsigned slot, BalloonMemory& pages, const DmaMemory& memory, Board& board)
        : balloon_{pages, memory, board.lock()},
          transport_{balloon_, memory, [&board, slot](bool level) { board.set_virtio_line(slot, level); },
                     "balloon"},
          thread_{[this] { balloon_.serve(); }} {
        balloon_.on_work([this] { thread_.ask(); });
        board.attach_virtio(slot, transport_);
    }
    BalloonDevice(const BalloonDevice&) = delete;
    BalloonDevice& operator=(const BalloonDevice&) = delete;

    VirtioBalloon& balloon() { return balloon_; }  // under the board's lock

private:
    VirtioBalloon balloon_;
    MmioTransport transport_;
    IoThread thread_;  // the first to go
};

}  // namespace undercroft
