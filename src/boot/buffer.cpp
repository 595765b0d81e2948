// SPDX-License-Identifier: Apache-2.0
#include "boot/buffer.hpp"

#include "base/large_pages.hpp"

#include <sys/mman.h>

namespace undercroft::boot {

Result<Buffer> Buffer::allocate(std::size_t size) {
    constexpr std::size_t small_alignment = 64;
    const std::size_t alignment = size >= large_page_size ? large_page_size : small_alignment;
    const std::size_t rounded = (size + alignment) / alignment * alignment;  // never zero
    Buffer buffer;
    buffer.bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, rounded)));
    if (!buffer.bytes_) return Error{"out of memory"};
    buffer.size_ = size;
    // A hint: a refusal costs page faults, nothing else.
    if (alignment == large_page_size) (void)::madvise(buffer.bytes_.get(), rounded, MADV_HUGEPAGE);
    return buffer;
}

}  // namespace undercroft::boot
