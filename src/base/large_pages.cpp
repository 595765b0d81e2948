// SPDX-License-Identifier: Apache-2.0
#include "base/large_pages.hpp"

#include "base/populate.hpp"

#include <cerrno>
#include <cstdint>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // headers older than Linux 6.1
#endif

namespace undercroft {

bool collapse_large_pages(void* begin, std::size_t size) noexcept {
    auto start = reinterpret_cast<std::uintptr_t>(begin);
    std::uintptr_t first = (start + large_page_size - 1) / large_page_size * large_page_size;
    std::uintptr_t end = (start + size) / large_page_size * large_page_size;
    int before = errno;
    bool all = true;
    for (std::uintptr_t page = first; page < end; page += large_page_size) {
        (void)::madvise(reinterpret_cast<void*>(page), 4096,
                        MADV_POPULATE_READ);  // or there is nothing to collapse
        all &= ::madvise(reinterpret_cast<void*>(page), large_page_size, MADV_COLLAPSE) == 0;
    }
    errno = before;
    return all;
}

}  // namespace undercroft
