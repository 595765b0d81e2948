// SPDX-License-Identifier: Apache-2.0
// One request of a virtio block device (virtio 1.2 section 5.2.6): read, write, flush, get-id, discard and
// write-zeroes. Everything else is answered with VIRTIO_BLK_S_UNSUPP.

#pragma once

#include "disk/disk.hpp"
#include "virtio/queue.hpp"

#include <cstdint>
#include <string>

namespace undercroft {

// What goes for all requests of a device.
struct BlockContext {
    static constexpr std::uint32_t most_discard_sectors = 1u << 22;  // 2 GiB at once
    static constexpr std::uint32_t most_zero_sectors = 1u << 15;     // 16 MiB: it may be written

    Disk& disk;
    const DmaMemory& memory;
    std::string serial;          // up to 20 characters
    bool write_through = false;  // the driver does not flush
};

// Serves it; blocks while the host works. Of its writable part only the ranges are known
// (Queue::want_ranges()), which lie in RAM. Returns how many bytes were written to the chain's writable part,
// or zero if the request has no header or no room for a status: the driver broke the protocol.
std::uint32_t serve_block_request(const BlockContext& context, Chain& chain);

// Tells the disk of what the request will read. (The driver may change its header until it is served.)
void announce_block_request(const BlockContext& context, const Chain& chain);

}  // namespace undercroft
