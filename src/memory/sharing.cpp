// SPDX-License-Identifier: Apache-2.0
// The parts of GuestMemory that give pages others' frames, and that take frames away: these while nobody
// executes or keeps an address of one.
#include "base/check.hpp"
#include "memory/compressed_store.hpp"
#include "memory/guest_memory.hpp"
#include "memory/swap_file.hpp"

#include "x86/paging.hpp"

#include <array>
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
    pmap_.set(pfn, PmapEntry::of(PageState::Zero));
    pool_->give_back(frame);
    return true;
}

bool GuestMemory::become_shared(std::uint64_t pfn) {
    PmapEntry entry = pmap_.entry(pfn);
    if (!entry.is_private()) return false;
    MachineFrame frame = entry.frame();
    pool_->begin_to_share(frame);
    pmap_.set(pfn, PmapEntry::of(PageState::Shared, frame));
    return true;
}

bool GuestMemory::share(std::uint64_t pfn, MachineFrame frame) {
    PmapEntry entry = pmap_.entry(pfn);
    if (!entry.is_private()) return false;
    MachineFrame own = entry.frame();
    if (std::memcmp(pool_->host(own), pool_->host(frame), page_size) != 0) return false;
    pool_->join(frame);
    pmap_.set(pfn, PmapEntry::of(PageState::Shared, frame));
    pool_->give_back(own);
    return true;
}

bool GuestMemory::become_compressed(std::uint64_t pfn) {
    PmapEntry entry = pmap_.entry(pfn);
    if (!entry.is_private()) return false;
    MachineFrame frame = entry.frame();
    std::optional<std::uint32_t> place = pool_->compressed().put(pool_->host(frame));
    if (!place) return false;
    pmap_.set(pfn, PmapEntry::compressed(*place));
    pool_->give_back(frame);
    return true;
}

bool GuestMemory::become_swapped(std::uint64_t pfn) {
    PmapEntry entry = pmap_.entry(pfn);
    CHECK(entry.is_private() || entry.is_compressed(), "a page with contents of its own");
    alignas(64) std::array<std::byte, page_size> expanded;
    const std::byte* page = expanded.data();
    if (entry.is_private())
        page = pool_->host(entry.frame());
    else
        pool_->compressed().get(entry.place(), expanded.data());
    std::optional<std::uint32_t> slot = pool_->swap()->write(page);
    if (!slot) return false;
    pmap_.set(pfn, PmapEntry::swapped(*slot));
    if (entry.is_private()) pool_->give_back(entry.frame());
    note_left(entry);
    return true;
}

void GuestMemory::give_up(std::span<const std::uint64_t> pages, PageState state) {
    std::vector<MachineFrame> frames;
    for (std::uint64_t pfn : pages) {
        PmapEntry entry = pmap_.entry(pfn);
        if (!is_ram(GuestPhysical{pfn << 12})) continue;
        pmap_.set(pfn, PmapEntry::of(state));
        if (entry.is_private()) frames.push_back(entry.frame());
        note_left(entry);
    }
    if (!frames.empty()) pool_->give_back(std::move(frames));
    leave_shared_frames();
}

bool GuestMemory::show(std::uint64_t pfn, MachineFrame frame) noexcept {
    PmapEntry entry = pmap_.entry(pfn);
    if (!may_show(entry) || !is_ram(GuestPhysical{pfn << 12})) return false;
    if (shown_.fetch_add(1, std::memory_order_relaxed) >= promised_) return false;
    PmapEntry before = entry;
    if (!pmap_.replace(pfn, entry, PmapEntry::of(PageState::Shared, frame))) return false;
    note_left(before);
    return true;
}

void GuestMemory::leave_shared_frames() {
    shown_.store(0, std::memory_order_relaxed);
    std::uint32_t count = left_count_.exchange(0, std::memory_order_relaxed);
    const auto* left = reinterpret_cast<const std::uint32_t*>(left_.data());
    for (std::uint32_t n = 0; n < count; ++n) pool_->leave(PmapEntry::from_word(left[n]).frame());
}

}  // namespace undercroft
