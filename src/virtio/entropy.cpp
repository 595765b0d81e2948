// SPDX-License-Identifier: Apache-2.0
#include "virtio/entropy.hpp"

#include <sys/random.h>

#include <algorithm>

namespace undercroft {
namespace {

// Returns how many bytes there are.
std::uint32_t fill(const Buffers& room) {
    std::uint32_t filled = 0;
    for (const iovec& piece : room.pieces()) {
        std::size_t wanted = std::min<std::size_t>(piece.iov_len, VirtioEntropy::most_at_once - filled);
        ssize_t got = getrandom(piece.iov_base, wanted, 0);
        if (got <= 0) break;
        filled += static_cast<std::uint32_t>(got);
        if (static_cast<std::size_t>(got) < piece.iov_len) break;
    }
    return filled;
}

}  // namespace

void VirtioEntropy::serve() {
    server_.serve([](QueueServer::Request& request) -> const char* {
        request.written = fill(request.chain.writable);
        return nullptr;
    });
}

}  // namespace undercroft
