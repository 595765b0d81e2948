// SPDX-License-Identifier: Apache-2.0
#include "mmu/code_pages.hpp"

namespace undercroft {

void CodePages::mark(GuestPhysical address, std::uint64_t length) noexcept {
    std::uint64_t pfn = address.page();
    if (pfn >= page_limit_ || length == 0) return;
    bool first = granules_[pfn] == 0;
    granules_[pfn] |= mask_of(address.page_offset(), length);
    if (!first) return;
    for (Watcher* watcher : watchers_) watcher->page_became_code(pfn);
}

void CodePages::wrote_slowly(GuestPhysical address, std::uint64_t length) noexcept {
    while (length != 0) {
        std::uint64_t here = 4096 - address.page_offset();
        if (here > length) here = length;
        if (listener_ && (granules(address.page()) & mask_of(address.page_offset(), here)) != 0)
            listener_->code_written(address, here);
        address = address + here;
        length -= here;
    }
}

}  // namespace undercroft
