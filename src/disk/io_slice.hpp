// SPDX-License-Identifier: Apache-2.0
// Parts of scattered buffers.

#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace undercroft {

inline std::uint64_t total_length(std::span<const iovec> buffers) {
    std::uint64_t length = 0;
    for (const iovec& buffer : buffers) length += buffer.iov_len;
    return length;
}

// The `length` bytes from `begin` on, which lie within the buffers.
std::vector<iovec> slice(std::span<const iovec> buffers, std::uint64_t begin, std::uint64_t length);

void fill_with_zeros(std::span<const iovec> buffers);
// As many bytes as the buffers have.
void scatter(const std::byte* from, std::span<const iovec> to);
void gather(std::span<const iovec> from, std::byte* to);

}  // namespace undercroft
