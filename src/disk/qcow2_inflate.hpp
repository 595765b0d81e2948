// SPDX-License-Identifier: Apache-2.0
// Unpacks one compressed cluster of a qcow2 image.

#pragma once

#include "disk/qcow2_header.hpp"

namespace undercroft {

// Fills `to` from `packed`, behind whose end of data anything may follow. False: it is damaged.
bool qcow2_inflate(Qcow2Header::Compression compression, std::span<const std::byte> packed,
                   std::span<std::byte> to);

}  // namespace undercroft
