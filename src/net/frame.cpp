// SPDX-License-Identifier: Apache-2.0
#include "net/frame.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft {

std::size_t Frame::copy_front(std::span<std::byte> to) const {
    std::size_t done = 0;
    for (const iovec& piece : pieces) {
        std::size_t now = std::min(piece.iov_len, to.size() - done);
        if (now == 0) break;
        std::memcpy(to.data() + done, piece.iov_base, now);
        done += now;
    }
    return done;
}

}  // namespace undercroft
