// SPDX-License-Identifier: Apache-2.0
#include "memory/reservation.hpp"

#include <sys/mman.h>

namespace undercroft {

Reservation::Reservation(std::uint64_t size, std::uint64_t alignment) {
    size = (size + 4095) / 4096 * 4096;
    std::uint64_t spare = alignment - 4096;
    void* space = mmap(nullptr, size + spare, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) return;
    std::uint64_t before = -reinterpret_cast<std::uintptr_t>(space) & (alignment - 1);
    data_ = static_cast<std::byte*>(space) + before;
    size_ = size;
    if (before > 0) munmap(space, before);
    if (before < spare) munmap(data_ + size, spare - before);
}

Reservation::~Reservation() {
    if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace undercroft
