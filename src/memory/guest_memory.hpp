// SPDX-License-Identifier: Apache-2.0
// A machine's physical memory: PFN -> MFN (the pmap), and where a frame lies in the monitor's process.
//
// Fresh memory costs nothing until it is touched. Regions are RAM; every other guest-physical address is
// device memory or nothing. Read-mostly after creation; the lookups are lock-free and safe from every thread.
// Everything inline here is called from helpers of translated code: general registers only, no allocation.

#pragma once

#include "base/result.hpp"
#include "memory/physical_map.hpp"
#include "x86/address.hpp"

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

class GuestMemory {
public:
    // Errors: "cannot reserve N MiB of memory: reason".
    static Result<std::unique_ptr<GuestMemory>> create(std::vector<MemoryRegion> regions);

    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;
    ~GuestMemory();

    // The host address of a byte of RAM, valid to the end of its 4 KiB page; null when it is not RAM.
    std::byte* host(GuestPhysical address) const noexcept {
        std::byte* page = pmap_.host_page(address.page());
        return page ? page + address.page_offset() : nullptr;
    }
    bool is_ram(GuestPhysical address) const noexcept { return host(address) != nullptr; }

    // Copies across pages. False, and nothing done, unless all of it is RAM. For loaders, devices and tests:
    // does not know of translated code (see mmu/code_pages.hpp).
    bool read(GuestPhysical from, std::span<std::byte> to) const;
    bool write(GuestPhysical to, std::span<const std::byte> from);

    // As write(), but may take the pages that `from` consists of instead of copying them: `from` has any
    // contents afterwards. It must be private memory that nobody else relies on. Much cheaper for tens of
    // MiB, the more so when both addresses are the same distance from a 2 MiB border.
    bool take(GuestPhysical to, std::span<std::byte> from);

    std::span<const MemoryRegion> regions() const { return regions_; }
    std::uint64_t size() const;                         // bytes of RAM in all regions
    std::uint64_t page_limit() const;                   // one past the highest RAM page number
    std::uint64_t resident() const;                     // bytes of RAM that the host backs now (touched)
    std::vector<std::uint64_t> resident_pages() const;  // their page numbers

private:
    GuestMemory() = default;
    // Calls action(frame) for each frame of the pool that the host backs; false if it does not tell.
    template <class Action>
    bool for_each_resident_frame(Action action) const;

    std::vector<MemoryRegion> regions_;
    PhysicalMap pmap_;
    std::byte* pool_ = nullptr;
    std::uint64_t pool_size_ = 0;
};

}  // namespace undercroft
