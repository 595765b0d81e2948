// SPDX-License-Identifier: Apache-2.0
// The checksum of IP, TCP and UDP (RFC 1071), for frames that a driver leaves to its device.

#pragma once

#include "net/frame.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft {

// The ones' complement of the ones' complement sum of its 16-bit words, as it is stored in a packet (that is,
// without a change of the bytes' order); a last odd byte counts as if a zero followed.
std::uint16_t internet_checksum(std::span<const std::byte> bytes);

// Does what NeedsChecksum asks for with a frame that is one stretch of bytes, whose header has been checked.
void complete_checksum(std::span<std::byte> frame, OffloadHeader& offload);

}  // namespace undercroft
