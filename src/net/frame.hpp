// SPDX-License-Identifier: Apache-2.0
// Frame: an Ethernet frame on its way between a guest and a network, and what is left to do with it.
//
// Its bytes stay where they are, in guest memory as a rule, so a frame is for the call that it is given to.

#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft {

using MacAddress = std::array<std::uint8_t, 6>;

// Precedes a frame in a device's buffers: struct virtio_net_hdr_v1 (virtio 1.2 section 5.1.6), which is also
// what Linux's tun devices use.
struct OffloadHeader {
    static constexpr std::uint8_t NeedsChecksum = 1;  // flags
    static constexpr std::uint8_t DataValid = 2;

    std::uint8_t flags = 0;
    std::uint8_t gso_type = 0;  // how to cut it into segments; 0: not at all
    std::uint16_t hdr_len = 0;
    std::uint16_t gso_size = 0;
    std::uint16_t csum_start = 0;   // with NeedsChecksum: from here on everything is summed up ...
    std::uint16_t csum_offset = 0;  // ... and the sum stored so far behind csum_start
    std::uint16_t num_buffers = 0;  // of a received frame: how many of the driver's it fills
};
static_assert(sizeof(OffloadHeader) == 12, "virtio 1.2 section 5.1.6");

struct Frame {
    // Destination, source, type.
    static constexpr std::size_t shortest = 14;
    // What a packet of the largest size makes, with its Ethernet header and a VLAN tag.
    static constexpr std::size_t longest = 65535 + 18;

    OffloadHeader offload;
    std::span<const iovec> pieces;
    std::size_t size = 0;  // of all pieces

    // As many bytes of its front as there is room for; returns how many.
    std::size_t copy_front(std::span<std::byte> to) const;
};

}  // namespace undercroft
