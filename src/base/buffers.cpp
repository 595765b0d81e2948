// SPDX-License-Identifier: Apache-2.0
#include "base/buffers.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft {

void Buffers::clear() {
    pieces_.clear();
    first_ = 0;
    size_ = 0;
}

void Buffers::add(std::byte* bytes, std::size_t length) {
    size_ += length;
    if (!pieces_.empty()) {
        iovec& last = pieces_.back();
        if (static_cast<std::byte*>(last.iov_base) + last.iov_len == bytes) {
            last.iov_len += length;
            return;
        }
    }
    pieces_.push_back({bytes, length});
}

template <class Copy>
std::size_t Buffers::consume(std::size_t most, Copy copy) {
    std::size_t done = 0;
    while (done < most && first_ < pieces_.size()) {
        iovec& piece = pieces_[first_];
        std::size_t now = std::min(most - done, piece.iov_len);
        auto* bytes = static_cast<std::byte*>(piece.iov_base);
        copy(bytes, done, now);
        piece = {bytes + now, piece.iov_len - now};
        done += now;
        if (piece.iov_len == 0) ++first_;
    }
    size_ -= done;
    return done;
}

std::size_t Buffers::take_front(std::span<std::byte> to) {
    return consume(to.size(), [&](const std::byte* bytes, std::size_t done, std::size_t now) {
        std::memcpy(to.data() + done, bytes, now);
    });
}

std::size_t Buffers::fill_front(std::span<const std::byte> from) {
    return consume(from.size(), [&](std::byte* bytes, std::size_t done, std::size_t now) {
        std::memcpy(bytes, from.data() + done, now);
    });
}

std::size_t Buffers::move_front(std::size_t most, Buffers& to) {
    return consume(most, [&](std::byte* bytes, std::size_t, std::size_t now) { to.add(bytes, now); });
}

void Buffers::drop_front(std::size_t most) {
    consume(most, [](const std::byte*, std::size_t, std::size_t) {});
}

}  // namespace undercroft
