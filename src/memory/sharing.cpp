// SPDX-License-Identifier: Apache-2.0
// The parts of GuestMemory that take frames away: while nobody executes or keeps an address of one.
#include "base/check.hpp"
#include "memory/guest_memory.hpp"
#include "memory/swap_file.hpp"

#include "x86/paging.hpp"

#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace undercroft {

bool GuestMemory::become_zero(std::uint64_t pfn) {
    PmapEntry entry = pmap_.entry(pfn);
    if (!entry.is_private()) return false;
    if (std::memcmp(pool_->host(entry.frame()), pool_->zero_page(), page_size) != 0) return false;
    MachineFrame frame = entry.frame();
    pmap_.replace(pfn, entry, PmapEntry::of(PageState::Zero));
    pool_->give_back(frame);
    return true;
}

bool GuestMemory::become_shared(std::uint64_t pfn) {
    PmapEntry entry = pmap_.entry(pfn);
    if (!entry.is_private()) return false;
    MachineFrame frame = entry.frame();
    pool_->begin_to_share(frame);
    pmap_.replace(pfn, entry, PmapEntry::of(PageState::Shared, frame));
    return true;
}

bool GuestMemory::share(std::uint64_t pfn, MachineFrame frame) {
    PmapEntry entry = pmap_.entry(pfn);
    if (!entry.is_private()) return false;
    MachineFrame own = entry.frame();
    if (std::memcmp(pool_->host(own), pool_->host(frame), page_size) != 0) return false;
    pool_->join(frame);
    pmap_.replace(pfn, entry, PmapEntry::of(PageState::Shared, frame));
    pool_->give_back(own);
    return true;
}

bool GuestMemory::become_swapped(std::uint64_t pfn) {
    PmapEntry entry = pmap_.entry(pfn);
    CHECK(entry.is_private(), "a page with a frame of its own");
    MachineFrame frame = entry.frame();
    std::optional<std::uint32_t> slot = pool_->swap()->write(pool_->host(frame));
    if (!slot) return false;
    pmap_.replace(pfn, entry, PmapEntry::swapped(*slot));
    pool_->give_back(frame);
    return true;
}

void GuestMemory::give_up(std::span<const std::uint64_t> pages, PageState state) {
    std::vector<MachineFrame> frames;
    for (std::uint64_t pfn : pages) {
        PmapEntry entry = pmap_.entry(pfn);
        if (!is_ram(GuestPhysical{pfn << 12}) || !pmap_.replace(pfn, entry, PmapEntry::of(state))) continue;
        if (entry.is_private()) frames.push_back(entry.frame());
        note_left(entry);
    }
    if (!frames.empty()) pool_->give_back(std::move(frames));
    leave_shared_frames();
}

void GuestMemory::leave_shared_frames() {
    std::uint32_t count = left_count_.exchange(0, std::memory_order_relaxed);
    const auto* left = reinterpret_cast<const std::uint32_t*>(left_.data());
    for (std::uint32_t n = 0; n < count; ++n) pool_->leave(PmapEntry::from_word(left[n]).frame());
}

}  // namespace undercroft
