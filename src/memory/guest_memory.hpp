// SPDX-License-Identifier: Apache-2.0
// A machine's physical memory: PFN -> MFN (the pmap), and where a frame lies in the monitor's process.
//
// Regions are RAM; every other guest-physical address is device memory or nothing. A page of RAM has no frame
// until it is written: until then all of them show one frame of zeroes, which nobody can write.
//
// With a limit to the pool, pages that nobody uses lie in a swap file until they are (reclaim.hpp).
//
// Pages of equal contents may be made to share a frame, of one machine or several (page_sharing.hpp), pages
// that have become zero give theirs back, and what has not been used for long is kept in less than a frame
// (compressed_store.hpp).
//
// So a page has a place to read and a place to write, which are the same once it has a frame of its own:
//   readable()  for one look: a page may get another frame as soon as somebody writes it, and who keeps the
//               address goes on seeing the old contents. It stays readable, never another machine's data,
//               while its reader executes (a vCPU) or serves a request (a device).
//   writable()  gives the page a frame of its own. That one it keeps while the machine executes, so the
//               address may be kept: software TLBs hold such addresses only, and the shortcuts of the page
//               walk as well.
// Nobody has to be told, therefore, when a page gets its first frame. (Keeping addresses of the zero frame
// for reading would need that: a block of translated code, too, checks an address once and reads through it
// again behind its own write to another mapping of the page.)
//
// Lookups are lock-free and safe from every thread. Everything inline here, and make_private(), is called
// from helpers of translated code: general registers only, no allocation.

#pragma once

#include "base/result.hpp"
#include "memory/disk_origins.hpp"
#include "memory/frame_pool.hpp"
#include "memory/physical_map.hpp"
#include "memory/request_gate.hpp"
#include "x86/address.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace undercroft {

struct MemoryRegion {
    GuestPhysical start;
    std::uint64_t size = 0;  // bytes, a multiple of 4096
};

// Pages of RAM by state.
struct MemoryFigures {
    std::uint64_t unbacked = 0;    // never written
    std::uint64_t zero = 0;        // written once, and zero again
    std::uint64_t own = 0;         // with a frame of their own
    std::uint64_t swapped = 0;     // in the swap file
    std::uint64_t shared = 0;      // with a frame that others show, too
    std::uint64_t compressed = 0;  // in less than a frame
    std::uint64_t ballooned = 0;   // given up by the guest's balloon
};

class GuestMemory {
public:
    // With a pool of its own, or frames of one that machines share. Errors: "cannot reserve N MiB of memory:
    // reason".
    static Result<std::unique_ptr<GuestMemory>> create(std::vector<MemoryRegion> regions,
                                                       std::shared_ptr<FramePool> pool = nullptr);

    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;
    ~GuestMemory();

    // The host address of a byte of RAM, valid to the end of its 4 KiB page; null when it is not RAM.
    const std::byte* readable(GuestPhysical address) const noexcept {
        PmapEntry entry = pmap_.entry(address.page());
        if (entry.is_private() || entry.is_shared()) [[likely]]
            return pool_->host(entry.frame()) + address.page_offset();
        if (entry.is_out()) [[unlikely]]
            return const_cast<GuestMemory*>(this)->make_private(address.page()) + address.page_offset();
        return is_ram(address) ? pool_->zero_page() + address.page_offset() : nullptr;
    }
    std::byte* writable(GuestPhysical address) noexcept {
        PmapEntry entry = pmap_.entry(address.page());
        if (entry.is_private()) [[likely]]
            return pool_->host(entry.frame()) + address.page_offset();
        std::byte* page = make_private(address.page());
        return page ? page + address.page_offset() : nullptr;
    }
    // The same for one who keeps the address, which tells that the page is in use.
    std::byte* writable_to_keep(GuestPhysical address) noexcept {
        std::byte* page = page_to_keep(address.page());
        return page ? page + address.page_offset() : writable(address);
    }
    // The page's, if it has a frame of its own; else null.
    std::byte* own_page(std::uint64_t pfn) const noexcept {
        PmapEntry entry = pmap_.entry(pfn);
        return entry.is_private() ? pool_->host(entry.frame()) : nullptr;
    }
    // The same, to be kept.
    std::byte* page_to_keep(std::uint64_t pfn) noexcept {
        PmapEntry entry = pmap_.entry(pfn);
        if (!entry.is_private()) return nullptr;
        if (!entry.is_used_to_all()) pmap_.set_used(pfn);
        return pool_->host(entry.frame());
    }
    bool is_ram(GuestPhysical address) const noexcept {
        for (const MemoryRegion& region : regions_)
            if (address - region.start < region.size) return true;
        return false;
    }

    bool is_ram(GuestPhysical address, std::uint64_t length) const noexcept;

    // Copies across pages. False, and nothing done, unless all of it is RAM. For loaders, devices and tests:
    // does not know of translated code (see mmu/code_pages.hpp).
    bool read(GuestPhysical from, std::span<std::byte> to) const;
    bool write(GuestPhysical to, std::span<const std::byte> from);

    // As write(), but may take the pages that `from` consists of instead of copying them: `from` has any
    // contents afterwards. It must be private memory that nobody else relies on. Much cheaper for tens of
    // MiB, if only since it is not there twice. Before a vCPU runs.
    bool take(GuestPhysical to, std::span<std::byte> from);

    std::span<const MemoryRegion> regions() const { return regions_; }
    std::uint64_t size() const;        // bytes of RAM in all regions
    std::uint64_t page_limit() const;  // one past the highest RAM page number
    MemoryFigures figures() const;
    std::vector<std::uint64_t> pages_with_frames() const;  // their numbers
    const FramePool& pool() const { return *pool_; }
    FramePool& pool() { return *pool_; }
    PmapEntry entry(std::uint64_t pfn) const noexcept { return pmap_.entry(pfn); }

    // A write of zeroes to a whole page of RAM: done if the page has no frame of its own, or none any more.
    // False: it has to be written. For callers as make_private().
    bool clear(std::uint64_t pfn) noexcept;

    // A page of RAM that has no frame of its own shows one that is shared, of which the caller is a sharer
    // for it, instead of what it shows. False: it has one, or there is no telling yet who still looks at
    // those that pages have left. Any thread.
    [[nodiscard]] bool show(std::uint64_t pfn, MachineFrame frame) noexcept;
    // Has the page neither a frame of its own nor contents that lie elsewhere?
    bool may_show(std::uint64_t pfn) const noexcept { return may_show(pmap_.entry(pfn)); }

    // While nobody executes or keeps an address of a frame (MemoryTenant::hold()). Each says whether it did
    // it. A page whose own frame is all zeroes gives it back.
    bool become_zero(std::uint64_t pfn);
    // A page's own frame is one to be shared from now on.
    bool become_shared(std::uint64_t pfn);
    // A page whose own frame has the contents of a shared one shows that one.
    bool share(std::uint64_t pfn, MachineFrame frame);
    // A page with a frame of its own is kept in less than one, until the next access. False: it does not
    // become small.
    bool become_compressed(std::uint64_t pfn);
    // A page with a frame of its own, or a compressed one, goes to the swap file, from where the next access
    // brings it back. False: the file has no room, or the host cannot write it.
    bool become_swapped(std::uint64_t pfn);
    // Has a page with a frame of its own been used since the watcher last asked? Not only while it is held.
    bool was_used(std::uint64_t pfn, UseWatcher watcher) noexcept {
        bool used = pmap_.entry(pfn).was_used(watcher);
        if (used) pmap_.clear_used(pfn, watcher);
        return used;
    }
    // Pages whose contents are of no use to the guest lose them, and their frames; they are Unbacked or
    // Ballooned from then on. What is no RAM is left alone.
    void give_up(std::span<const std::uint64_t> pages, PageState state);
    // Frames that pages no longer share since the last call are not in use by them any more.
    void leave_shared_frames();
    bool has_left_shared_frames() const noexcept { return left_count_.load(std::memory_order_relaxed) != 0; }
    RequestGate& requests() noexcept { return requests_; }
    DiskOrigins& disk_origins() const noexcept { return *disk_origins_; }

private:
    static bool may_show(PmapEntry entry) noexcept { return !entry.is_private() && !entry.is_out(); }
    explicit GuestMemory(std::shared_ptr<FramePool> pool) : pool_{std::move(pool)} {}
    // The page's address, with a frame of its own; null: not RAM.
    std::byte* make_private(std::uint64_t pfn) noexcept;
    // For a page that shows `entry`, with its contents.
    MachineFrame take_frame(PmapEntry entry) noexcept;
    // Of a page that has just changed its state to another one.
    void note_left(PmapEntry entry) noexcept;
    // Calls action(pfn, entry) for each page of RAM.
    template <class Action>
    void for_each_page(Action action) const;
    bool take_whole_pages(std::uint64_t pfn, std::span<std::byte> from);
    void give_frames_back();

    std::vector<MemoryRegion> regions_;
    std::shared_ptr<FramePool> pool_;
    std::uint64_t promised_ = 0;  // frames
    PhysicalMap pmap_;
    std::unique_ptr<DiskOrigins> disk_origins_;
    // Shared frames that pages have left, which somebody may still be looking at. Each page has room, as it
    // does not leave twice before they are seen to; and so has each of as many show().
    Reservation left_;
    std::atomic<std::uint32_t> left_count_{0};
    std::atomic<std::uint64_t> shown_{0};  // since then
    RequestGate requests_;
    SpinLock stash_lock_;
    FrameBatch stash_;  // to be handed out next, the last one first; under the lock
};

}  // namespace undercroft
