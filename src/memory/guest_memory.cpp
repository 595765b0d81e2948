// SPDX-License-Identifier: Apache-2.0
// Set-up and bulk copies. Compiled with vector instructions: not for translated code's helpers, which use the
// inline lookups only.

#include "memory/guest_memory.hpp"
#include "memory/compressed_store.hpp"
#include "memory/swap_file.hpp"

#include "base/check.hpp"
#include "x86/paging.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace undercroft {
namespace {

constexpr std::uint64_t max_page_limit = 1ull << (physical_address_bits - 12);

Error cannot_reserve(std::uint64_t bytes, std::string_view reason) {
    return Error{fmt::format("cannot reserve {} MiB of memory: {}", bytes >> 20, reason)};
}

void check_regions(const std::vector<MemoryRegion>& regions) {
    std::uint64_t end = 0;
    for (const MemoryRegion& region : regions) {
        CHECK(region.start.page_offset() == 0 && region.size % page_size == 0, "a region of whole pages");
        CHECK(region.start.value() >= end, "regions sorted and disjoint");
        end = region.start.value() + region.size;
        CHECK(end >= region.start.value(), "a region within the address space");
    }
}

// Calls piece(address, bytes done, bytes now) for each page of a range.
template <class Piece>
void for_each_piece(GuestPhysical start, std::uint64_t size, Piece piece) {
    for (std::uint64_t done = 0; done < size;) {
        GuestPhysical at = start + done;
        std::uint64_t now = std::min(size - done, page_size - at.page_offset());
        piece(at, done, now);
        done += now;
    }
}

}  // namespace

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(std::vector<MemoryRegion> regions,
                                                         std::shared_ptr<FramePool> pool) {
    check_regions(regions);
    std::uint64_t limit = 0;
    std::uint64_t bytes = 0;
    for (const MemoryRegion& region : regions) {
        limit = (region.start + region.size).page();
        bytes += region.size;
    }
    if (limit > max_page_limit || bytes >> 12 >= 1ull << PmapEntry::frame_bits)
        return cannot_reserve(bytes, "more than a guest can address");
    if (!pool) {
        auto own = FramePool::create(bytes);
        if (!own) return cannot_reserve(bytes, own.error().message);
        pool = *std::move(own);
    }
    std::unique_ptr<GuestMemory> memory{new GuestMemory{std::move(pool)}};
    memory->regions_ = std::move(regions);
    std::uint64_t frames = (bytes >> 12) + FrameBatch::most;
    if (!memory->pool_->promise(frames)) return cannot_reserve(bytes, "all machines together have too much");
    memory->promised_ = frames;
    memory->pmap_ = PhysicalMap{limit};
    memory->left_ = Reservation{2 * frames * sizeof(std::uint32_t)};
    memory->disk_origins_ = std::make_unique<DiskOrigins>(limit);
    if (!memory->pmap_.valid() || !memory->left_ || !*memory->disk_origins_)
        return cannot_reserve(bytes, "no memory for the table of frames");
    return memory;
}

GuestMemory::~GuestMemory() {
    if (pool_.use_count() > 1) give_frames_back();  // else all goes at once
}

void GuestMemory::give_frames_back() {
    std::vector<MachineFrame> frames{stash_.frames.begin(), stash_.frames.begin() + stash_.count};
    leave_shared_frames();
    for_each_page([&](std::uint64_t, PmapEntry entry) {
        if (entry.is_private()) frames.push_back(entry.frame());
        if (entry.is_shared()) pool_->leave(entry.frame());
        if (entry.is_swapped()) pool_->swap()->release(entry.slot());
        if (entry.is_compressed()) pool_->compressed().release(entry.place());
    });
    pool_->give_back(std::move(frames));
    pool_->release_promise(promised_);
}

bool GuestMemory::is_ram(GuestPhysical address, std::uint64_t length) const noexcept {
    for (const MemoryRegion& region : regions_) {
        if (length == 0) return true;
        std::uint64_t before = address - region.start;
        if (before >= region.size) continue;
        std::uint64_t here = std::min(length, region.size - before);
        address = address + here;
        length -= here;
    }
    return length == 0;
}

bool GuestMemory::read(GuestPhysical from, std::span<std::byte> to) const {
    if (!is_ram(from, to.size())) return false;
    for_each_piece(from, to.size(), [&](GuestPhysical at, std::uint64_t done, std::uint64_t now) {
        std::memcpy(to.data() + done, readable(at), now);
    });
    return true;
}

bool GuestMemory::write(GuestPhysical to, std::span<const std::byte> from) {
    if (!is_ram(to, from.size())) return false;
    for_each_piece(to, from.size(), [&](GuestPhysical at, std::uint64_t done, std::uint64_t now) {
        std::memcpy(writable(at), from.data() + done, now);
    });
    return true;
}

bool GuestMemory::take(GuestPhysical to, std::span<std::byte> from) {
    constexpr std::uint64_t worth_it = std::uint64_t{1} << 20;
    if (from.size() < worth_it || !is_ram(to, from.size())) return write(to, from);
    std::uint64_t head = (page_size - to.page_offset()) % page_size;
    std::uint64_t whole = (from.size() - head) / page_size * page_size;
    if (!take_whole_pages((to + head).page(), from.subspan(head, whole))) return write(to, from);
    return write(to, from.first(head)) && write(to + (head + whole), from.subspan(head + whole));
}

bool GuestMemory::take_whole_pages(std::uint64_t pfn, std::span<std::byte> from) {
    if (reinterpret_cast<std::uintptr_t>(from.data()) % page_size != 0) return false;
    std::optional<MachineFrame> first = pool_->take_with_contents(from);
    if (!first) return false;
    std::vector<MachineFrame> unused;
    for (std::uint64_t page = 0; page < from.size() >> 12; ++page) {
        MachineFrame frame{static_cast<std::uint64_t>(*first) + page};
        PmapEntry entry = pmap_.entry(pfn + page);
        if (entry.is_private()) unused.push_back(entry.frame());
        pmap_.replace(pfn + page, entry, PmapEntry::of(PageState::Private, frame));
    }
    pool_->give_back(std::move(unused));
    return true;
}

std::uint64_t GuestMemory::size() const {
    std::uint64_t bytes = 0;
    for (const MemoryRegion& region : regions_) bytes += region.size;
    return bytes;
}

std::uint64_t GuestMemory::page_limit() const { return pmap_.page_limit(); }

template <class Action>
void GuestMemory::for_each_page(Action action) const {
    for (const MemoryRegion& region : regions_) {
        std::uint64_t first = region.start.page();
        for (std::uint64_t pfn = first; pfn < first + (region.size >> 12); ++pfn)
            action(pfn, pmap_.entry(pfn));
    }
}

MemoryFigures GuestMemory::figures() const {
    MemoryFigures figures;
    for_each_page([&](std::uint64_t, PmapEntry entry) {
        switch (entry.state()) {
            case PageState::Unbacked: ++figures.unbacked; break;
            case PageState::Private: ++figures.own; break;
            case PageState::Zero: ++figures.zero; break;
            case PageState::Swapped: ++figures.swapped; break;
            case PageState::Shared: ++figures.shared; break;
            case PageState::Compressed: ++figures.compressed; break;
            case PageState::Ballooned: ++figures.ballooned; break;
        }
    });
    return figures;
}

std::vector<std::uint64_t> GuestMemory::pages_with_frames() const {
    std::vector<std::uint64_t> pages;
    for_each_page([&](std::uint64_t pfn, PmapEntry entry) {
        if (entry.is_private() || entry.is_shared() || entry.is_out()) pages.push_back(pfn);
    });
    return pages;
}

}  // namespace undercroft
