// SPDX-License-Identifier: Apache-2.0
#include "boot/buffer.hpp"

#include <sys/mman.h>

namespace undercroft::boot {

Result<Buffer> Buffer::allocate(std::size_t size) {
    constexpr std::size_t huge = std::size_t{2} << 20;
    constexpr std::size_t small_alignment = 64;
    const std::size_t alignment = size >= huge ? huge : small_alignment;
    const std::size_t rounded = (size + alignment) / alignment * alignment;  // never zero
    Buffer buffer;
    buffer.bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, rounded)));
    if (!buffer.bytes_) return Error{"out of memory"};
    buffer.size_ = size;
    // A hint: a refusal costs page faults, nothing else.
    if (alignment == huge) (void)::madvise(buffer.bytes_.get(), rounded, MADV_HUGEPAGE);
    return buffer;
}

}  // namespace undercroft::boot
