// SPDX-License-Identifier: Apache-2.0
// DiskDevice: a disk in a virtio slot of the board, and the thread that serves it.

#pragma once

#include "disk/disk.hpp"
#include "machine/board.hpp"
#include "virtio/block.hpp"
#include "virtio/io_thread.hpp"
#include "virtio/mmio.hpp"

#include <fmt/core.h>

namespace undercroft {

class DiskDevice {
public:
    // Before the guest runs. All of them outlive it; and so does whoever the board tells of interrupts.
    DiskDevice(unsigned slot, Disk& disk, const DmaMemory& memory, Board& board)
        : block_{disk, memory, board.lock(), fmt::format("undercroft-{}", slot)},
          transport_{block_, memory, [&board, slot](bool level) { board.set_virtio_line(slot, level); },
                     fmt::format("disk '{}'", disk.name())},
          thread_{[this] { block_.serve(); }} {
        block_.on_work([this] { thread_.ask(); });
        board.attach_virtio(slot, transport_);
    }
    DiskDevice(const DiskDevice&) = delete;
    DiskDevice& operator=(const DiskDevice&) = delete;

private:
    VirtioBlock block_;
    MmioTransport transport_;
    IoThread thread_;  // the first to go
};

}  // namespace undercroft
