// SPDX-License-Identifier: Apache-2.0
// A page's first frame, and its own after a shared one. Called from helpers of translated code.
#include "memory/guest_memory.hpp"

#include "memory/compressed_store.hpp"
#include "memory/swap_file.hpp"

namespace undercroft {
namespace {

void clear_page(std::byte* page) noexcept {
    std::uint64_t words = 512;
    asm volatile("rep stosq" : "+D"(page), "+c"(words) : "a"(0) : "memory");
}

void copy_page(std::byte* to, const std::byte* from) noexcept {
    std::uint64_t words = 512;
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

}  // namespace

// Cleared here rather than when it was given back: then it is in the processor's cache when it is written.
MachineFrame GuestMemory::take_frame(PmapEntry entry) noexcept {
    stash_lock_.lock();
    if (stash_.count == 0) pool_->take(stash_);
    MachineFrame frame = stash_.frames[--stash_.count];
    bool zero = stash_.zero;
    stash_lock_.unlock();
    if (entry.is_swapped())
        pool_->swap()->read(entry.slot(), pool_->host(frame));
    else if (entry.is_compressed())
        pool_->compressed().get(entry.place(), pool_->host(frame));
    else if (entry.is_shared())
        copy_page(pool_->host(frame), pool_->host(entry.frame()));
    else if (!zero)
        clear_page(pool_->host(frame));
    return frame;
}

// Another thread may do the same at the same time: the first one's frame stays. (What the others have read
// from a slot or a place that is free meanwhile is thrown away.)
std::byte* GuestMemory::make_private(std::uint64_t pfn) noexcept {
    PmapEntry entry = pmap_.entry(pfn);
    if (!is_ram(GuestPhysical{pfn << 12})) return nullptr;
    while (!entry.is_private()) {
        MachineFrame frame = take_frame(entry);
        PmapEntry before = entry;
        if (pmap_.replace(pfn, entry, PmapEntry::of(PageState::Private, frame).in_use())) {
            note_left(before);
            return pool_->host(frame);
        }
        pool_->give_back(frame);
    }
    return pool_->host(entry.frame());
}

void GuestMemory::note_left(PmapEntry entry) noexcept {
    if (entry.is_swapped()) pool_->swap()->release(entry.slot());
    if (entry.is_compressed()) pool_->compressed().release(entry.place());
    if (!entry.is_shared()) return;
    std::uint32_t n = left_count_.fetch_add(1, std::memory_order_relaxed);
    reinterpret_cast<std::uint32_t*>(left_.data())[n] = entry.word();
}

bool GuestMemory::clear(std::uint64_t pfn) noexcept {
    if (!is_ram(GuestPhysical{pfn << 12})) return false;
    PmapEntry entry = pmap_.entry(pfn);
    while (entry.state() != PageState::Zero) {
        if (entry.is_private()) return false;
        PmapEntry before = entry;
        if (!pmap_.replace(pfn, entry, PmapEntry::of(PageState::Zero))) continue;
        note_left(before);
        break;
    }
    return true;
}

}  // namespace undercroft
