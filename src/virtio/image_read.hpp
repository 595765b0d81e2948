// SPDX-License-Identifier: Apache-2.0
// A read of a disk into guest memory that shares what it can with other machines: whole pages of an image
// that others read, too, into pages of the guest's that have no frame yet. Such a page shows the frame that
// holds this page of the image; if there is none, one is filled, for the next who asks. All else is copied.

#pragma once

#include "disk/disk.hpp"
#include "virtio/dma_memory.hpp"
#include "virtio/queue.hpp"

#include <cstdint>
#include <span>

namespace undercroft {

// The ranges lie in RAM; their sum, from `offset` on, on the disk. `room`: an empty one, for what is read at
// once, so that it need not be allocated. Status as of Disk::read().
DiskStatus read_sharing_pages(Disk& disk, const DmaMemory& memory, std::uint64_t offset,
                              std::span<const Chain::Range> ranges, Buffers& room);

}  // namespace undercroft
