// SPDX-License-Identifier: Apache-2.0
// What a guest and the host say to each other over a socket device (virtio 1.2 section 5.10.6).

#pragma once

#include <compare>
#include <cstdint>

namespace undercroft {

// Context identifiers: who is meant.
inline constexpr std::uint64_t vsock_host_cid = 2;
inline constexpr std::uint64_t vsock_first_guest_cid = 3;
inline constexpr std::uint64_t vsock_last_guest_cid = 0xffff'fffe;

enum class VsockOperation : std::uint16_t {
    Invalid = 0,
    Request = 1,        // for a connection
    Response = 2,       // it is made
    Reset = 3,          // there is none, or none any more
    Shutdown = 4,       // `flags`: what the sender will not do any more
    Data = 5,           // VIRTIO_VSOCK_OP_RW
    CreditUpdate = 6,   // the header says all
    CreditRequest = 7,  // the sender wants one
};

struct VsockHeader {
    // Of a Shutdown.
    static constexpr std::uint32_t NoReceive = 1;
    static constexpr std::uint32_t NoSend = 2;
    static constexpr std::uint32_t Nothing = NoReceive | NoSend;

    static constexpr std::uint16_t stream = 1;  // `type`

    std::uint64_t source_cid = 0;
    std::uint64_t destination_cid = 0;
    std::uint32_t source_port = 0;
    std::uint32_t destination_port = 0;
    std::uint32_t length = 0;  // of the data behind the header
    std::uint16_t type = stream;
    VsockOperation operation = VsockOperation::Invalid;
    std::uint32_t flags = 0;
    // Flow control: the sender's room for what it receives on this connection, and how much of that it has
    // passed on since the beginning, in bytes.
    std::uint32_t buffer_size = 0;
    std::uint32_t forwarded = 0;
} __attribute__((packed));
static_assert(sizeof(VsockHeader) == 44, "virtio 1.2 section 5.10.6");

// What a connection is known by.
struct VsockPorts {
    std::uint32_t guest = 0;
    std::uint32_t host = 0;
    auto operator<=>(const VsockPorts&) const = default;
};

}  // namespace undercroft
