// SPDX-License-Identifier: Apache-2.0
// A fixed array of zeroes on the heap that costs nothing until it is touched, aligned to a cache line.
//
// For tables indexed by page number, of which a guest uses a small part: calloc takes large blocks fresh from
// the host, where a std::vector would write every byte of them. Lack of memory is a broken invariant: the
// tables are small beside the guest memory whose reservation has been checked before.

#pragma once

#include "base/check.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

namespace undercroft {

template <class T>
class ZeroedArray {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>,
                  "zero bytes are a value");

public:
    // NOLINTNEXTLINE(bugprone-sizeof-expression): T may well be a pointer
    explicit ZeroedArray(std::uint64_t count) : block_{std::calloc(count * sizeof(T) + cache_line, 1)} {
        CHECK(block_ != nullptr, "no memory for a table");
        auto start = reinterpret_cast<std::uintptr_t>(block_.get());
        items_ = reinterpret_cast<T*>((start + cache_line - 1) / cache_line * cache_line);
    }

    T& operator[](std::uint64_t index) noexcept { return items_[index]; }
    const T& operator[](std::uint64_t index) const noexcept { return items_[index]; }

private:
    static constexpr std::size_t cache_line = 64;
    struct Free {
        void operator()(void* block) const { std::free(block); }
    };

    std::unique_ptr<void, Free> block_;
    T* items_ = nullptr;
};

}  // namespace undercroft
