// SPDX-License-Identifier: Apache-2.0
// Reservation: private, zero-filled address space that costs nothing until it is touched.

#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace undercroft {

class Reservation {
public:
    Reservation() = default;
    // `alignment` is a power of two, at least 4096. Empty, with errno set, if the host refuses.
    explicit Reservation(std::uint64_t size, std::uint64_t alignment = 4096);
    Reservation(Reservation&& other) noexcept
        : data_{std::exchange(other.data_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
    Reservation& operator=(Reservation&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    ~Reservation();

    explicit operator bool() const { return data_ != nullptr; }
    std::byte* data() const { return data_; }
    std::uint64_t size() const { return size_; }

private:
    std::byte* data_ = nullptr;
    std::uint64_t size_ = 0;
};

}  // namespace undercroft
