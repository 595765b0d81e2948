// SPDX-License-Identifier: Apache-2.0
// Buffers: pieces of guest memory, by their host addresses, that are one stretch of bytes to a device.
//
// The specification leaves it to the driver how a request is cut into descriptors (virtio 1.2 section 2.7.4),
// so devices take headers off the front and results off the end without looking at the pieces.

#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace undercroft {

class Buffers {
public:
    // Keeps the room it has, so that a queue's requests allocate nothing after the first few.
    void clear();
    void add(std::byte* bytes, std::size_t length);  // joins what lies side by side

    std::uint64_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    std::span<const iovec> pieces() const { return std::span{pieces_}.subspan(first_); }

    // Moves bytes from the front into `to`, or from `from` to the front, as many as both have; they are gone
    // from here. Returns how many.
    std::size_t take_front(std::span<std::byte> to);
    std::size_t fill_front(std::span<const std::byte> from);
    // The front's pieces, of `most` bytes or as many as there are, go to the end of `to`.
    std::size_t move_front(std::size_t most, Buffers& to);
    void drop_front(std::size_t most);

private:
    template <class Copy>
    std::size_t consume(std::size_t most, Copy copy);

    std::vector<iovec> pieces_;
    std::size_t first_ = 0;  // those before it are used up
    std::uint64_t size_ = 0;
};

}  // namespace undercroft
