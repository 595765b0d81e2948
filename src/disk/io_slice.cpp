// SPDX-License-Identifier: Apache-2.0
#include "disk/io_slice.hpp"

#include <algorithm>

namespace undercroft {

std::vector<iovec> slice(std::span<const iovec> buffers, std::uint64_t begin, std::uint64_t length) {
    std::vector<iovec> part;
    for (const iovec& buffer : buffers) {
        if (length == 0) break;
        if (begin >= buffer.iov_len) {
            begin -= buffer.iov_len;
            continue;
        }
        auto now = std::min<std::uint64_t>(buffer.iov_len - begin, length);
        part.push_back({static_cast<std::byte*>(buffer.iov_base) + begin, now});
        begin = 0;
        length -= now;
    }
    return part;
}

void fill_with_zeros(std::span<const iovec> buffers) {
    for (const iovec& buffer : buffers) std::memset(buffer.iov_base, 0, buffer.iov_len);
}

void scatter(const std::byte* from, std::span<const iovec> to) {
    for (const iovec& buffer : to) {
        std::memcpy(buffer.iov_base, from, buffer.iov_len);
        from += buffer.iov_len;
    }
}

void gather(std::span<const iovec> from, std::byte* to) {
    for (const iovec& buffer : from) {
        std::memcpy(to, buffer.iov_base, buffer.iov_len);
        to += buffer.iov_len;
    }
}

}  // namespace undercroft
