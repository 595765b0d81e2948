// SPDX-License-Identifier: Apache-2.0
// Bytes of files and tables: views, an owner that is not zero-filled, and reads by offset.

#pragma once

#include "base/check.hpp"
#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>

namespace undercroft::boot {

using ByteSpan = std::span<const std::byte>;

// Owns `size` bytes whose contents are whatever they are: an unpacked kernel is 50 MB and more, and clearing
// it first would cost as much as unpacking a good part of it. Moving keeps the address.
class Buffer {
public:
    Buffer() = default;

    // On huge pages where the host has them. Error: "out of memory".
    static Result<Buffer> allocate(std::size_t size);

    std::byte* data() { return bytes_.get(); }
    std::size_t size() const { return size_; }
    ByteSpan span() const { return {bytes_.get(), size_}; }

private:
    struct Free {
        void operator()(std::byte* bytes) const { std::free(bytes); }
    };
    std::unique_ptr<std::byte, Free> bytes_;
    std::size_t size_ = 0;
};

// A plain little-endian value at `offset`, of any alignment. The caller has checked that it lies within.
template <class T>
T load_at(ByteSpan bytes, std::size_t offset) {
    static_assert(std::is_trivially_copyable_v<T>);
    CHECK(offset <= bytes.size() && sizeof(T) <= bytes.size() - offset);
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

// Does [offset, offset + size) lie within the first `limit` bytes? Never overflows.
constexpr bool lies_within(std::uint64_t offset, std::uint64_t size, std::uint64_t limit) {
    return size <= limit && offset <= limit - size;
}

}  // namespace undercroft::boot
