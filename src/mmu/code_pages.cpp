// SPDX-License-Identifier: Apache-2.0
#include "mmu/code_pages.hpp"

namespace undercroft {

void CodePages::Listener::all_code_written() {}

void CodePages::mark(GuestPhysical address, std::uint64_t length) noexcept {
    std::uint64_t pfn = address.page();
    if (pfn >= page_limit_ || length == 0) return;
    std::uint64_t before = granules(pfn);
    set(pfn, before | mask_of(address.page_offset(), length));
    if (before != 0) return;
    for (Watcher* watcher : watchers_) watcher->page_became_code(pfn);
}

bool CodePages::claim(std::uint64_t pfn) {
    if (exchange_ == nullptr || pfn >= page_limit_ || exchange_->owns(member_, pfn)) return false;
    for (Watcher* watcher : watchers_) watcher->page_became_code(pfn);
    return exchange_->claim(member_, pfn);
}

void CodePages::wrote_slowly(GuestPhysical address, std::uint64_t length) noexcept {
    while (length != 0) {
        std::uint64_t here = 4096 - address.page_offset();
        if (here > length) here = length;
        std::uint64_t mask = mask_of(address.page_offset(), here);
        if (exchange_ != nullptr && address.page() < page_limit_)
            exchange_->tell_written(member_, address.page(), mask);
        if ((granules(address.page()) & mask) != 0) {
            note_change(address.page());
            if (listener_) listener_->code_written(address, here);
        }
        address = address + here;
        length -= here;
    }
}

bool CodePages::may_grant_write(std::uint64_t pfn) const noexcept {
    for (const Watcher* watcher : watchers_)
        if (watcher->may_grant_write(pfn)) return true;
    return false;
}

void CodePages::other_made_code(std::uint64_t pfn) noexcept {
    for (Watcher* watcher : watchers_) watcher->page_became_code(pfn);
}

void CodePages::other_wrote(GuestPhysical address, std::uint64_t length) noexcept {
    if ((granules(address.page()) & mask_of(address.page_offset(), length)) == 0) return;
    note_change(address.page());
    if (listener_) listener_->code_written(address, length);
}

void CodePages::anything_may_have_changed() noexcept {
    changes_ += recent_count + 1;
    for (Watcher* watcher : watchers_) watcher->forget_granted_writes();
    if (listener_) listener_->all_code_written();
}

}  // namespace undercroft
