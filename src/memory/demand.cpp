// SPDX-License-Identifier: Apache-2.0
// A page's first frame. Called from helpers of translated code.
#include "memory/guest_memory.hpp"

namespace undercroft {
namespace {

void clear(std::byte* page) noexcept {
    std::uint64_t words = 512;
    asm volatile("rep stosq" : "+D"(page), "+c"(words) : "a"(0) : "memory");
}

}  // namespace

// Cleared here rather than when it was given back: then it is in the processor's cache when it is written.
MachineFrame GuestMemory::take_zeroed_frame() noexcept {
    stash_lock_.lock();
    if (stash_.count == 0) pool_->take(stash_);
    MachineFrame frame = stash_.frames[--stash_.count];
    bool zero = stash_.zero;
    stash_lock_.unlock();
    if (!zero) clear(pool_->host(frame));
    return frame;
}

// Another thread may do the same at the same time: the first one's frame stays.
std::byte* GuestMemory::make_private(std::uint64_t pfn) noexcept {
    PmapEntry entry = pmap_.entry(pfn);
    if (!is_ram(GuestPhysical{pfn << 12})) return nullptr;
    while (!entry.is_private()) {
        MachineFrame frame = take_zeroed_frame();
        if (pmap_.replace(pfn, entry, PmapEntry::own(frame))) return pool_->host(frame);
        pool_->give_back(frame);
    }
    return pool_->host(entry.frame());
}

}  // namespace undercroft
