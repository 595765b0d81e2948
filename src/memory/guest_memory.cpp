// SPDX-License-Identifier: Apache-2.0
// The pool, its set-up, and bulk copies. Compiled with vector instructions: not for translated code's
// helpers, which use the inline lookups only.
//
// The pool is one private anonymous mapping without reservation: a frame costs nothing before its first
// touch. Its first frame is inaccessible and stands for "none". No huge pages are asked for, and where the
// host gives them to everyone they are refused: a guest kernel touches single pages far apart, and each would
// bring in 2 MiB.

#include "memory/guest_memory.hpp"

#include "base/check.hpp"
#include "x86/paging.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#ifdef __SANITIZE_THREAD__
extern "C" void AnnotateBenignRaceSized(const char* file, int line, const volatile void* address,
                                        std::size_t size, const char* description);
#endif

namespace undercroft {
namespace {

constexpr std::uint64_t max_page_limit = 1ull << (physical_address_bits - 12);

Error cannot_reserve(std::uint64_t bytes, const char* reason) {
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

// Calls piece(host, bytes done, bytes now) for each page of a range that is all RAM.
template <class Piece>
bool for_each_page(const GuestMemory& memory, GuestPhysical start, std::uint64_t size, Piece piece) {
    for (std::uint64_t done = 0; done < size;) {
        GuestPhysical at = start + done;
        std::byte* host = memory.host(at);
        if (!host) return false;
        std::uint64_t now = std::min(size - done, page_size - at.page_offset());
        piece(host, done, now);
        done += now;
    }
    return true;
}

// Does [start, start + size) lie in one piece in our address space, too?
bool is_one_piece(const GuestMemory& memory, GuestPhysical start, std::uint64_t size) {
    const std::byte* first = memory.host(start);
    const std::byte* last = memory.host(start + (size - 1));
    return last - first == static_cast<std::ptrdiff_t>(size - 1);
}

bool all_ram(const GuestMemory& memory, GuestPhysical start, std::uint64_t size) {
    return for_each_page(memory, start, size, [](std::byte*, std::uint64_t, std::uint64_t) {});
}

// vCPUs share RAM by the guest's rules: translated code takes its locks, which ThreadSanitizer does not see.
void expect_races([[maybe_unused]] void* ram, [[maybe_unused]] std::uint64_t size) {
#ifdef __SANITIZE_THREAD__
    AnnotateBenignRaceSized(__FILE__, __LINE__, ram, size, "guest RAM");
#endif
}

// A mapping whose second page lies on a 2 MiB border, so that the guest's large pages are the host's: take()
// can then move them whole. MAP_FAILED with errno set if there is no room.
void* reserve(std::uint64_t size) {
    constexpr std::uint64_t large = std::uint64_t{2} << 20;
    void* space = mmap(nullptr, size + large, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) return space;
    auto start = reinterpret_cast<std::uintptr_t>(space);
    std::uint64_t before = (large - (start + page_size) % large) % large;
    std::byte* pool = static_cast<std::byte*>(space) + before;
    if (before > 0) munmap(space, before);
    std::uint64_t mapped = (size + page_size - 1) / page_size * page_size;
    if (before < large) munmap(pool + mapped, large - before);
    return pool;
}

}  // namespace

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(std::vector<MemoryRegion> regions) {
    check_regions(regions);
    std::unique_ptr<GuestMemory> memory{new GuestMemory};
    memory->regions_ = std::move(regions);
    std::uint64_t bytes = memory->size();
    std::uint64_t limit = 0;
    for (const MemoryRegion& region : memory->regions_) limit = (region.start + region.size).page();
    if (limit > max_page_limit || bytes >> 12 >= 1ull << PhysicalMap::frame_bits)
        return cannot_reserve(bytes, "more than a guest can address");

    std::uint64_t pool_size = bytes + page_size;
    void* pool = reserve(pool_size);
    if (pool == MAP_FAILED) return cannot_reserve(bytes, std::strerror(errno));
    memory->pool_ = static_cast<std::byte*>(pool);
    memory->pool_size_ = pool_size;
    expect_races(pool, pool_size);
    mprotect(pool, page_size, PROT_NONE);
    madvise(pool, pool_size, MADV_NOHUGEPAGE);

    memory->pmap_ = PhysicalMap{limit, memory->pool_};
    if (!memory->pmap_.valid()) return cannot_reserve(bytes, "no memory for the table of frames");
    std::uint64_t frame = 1;
    for (const MemoryRegion& region : memory->regions_)
        for (std::uint64_t page = 0; page < region.size >> 12; page++)
            memory->pmap_.map(region.start.page() + page, MachineFrame{frame++});
    return memory;
}

GuestMemory::~GuestMemory() {
    if (pool_) munmap(pool_, pool_size_);
}

bool GuestMemory::read(GuestPhysical from, std::span<std::byte> to) const {
    if (!all_ram(*this, from, to.size())) return false;
    return for_each_page(*this, from, to.size(), [&](std::byte* host, std::uint64_t done, std::uint64_t now) {
        std::memcpy(to.data() + done, host, now);
    });
}

bool GuestMemory::write(GuestPhysical to, std::span<const std::byte> from) {
    if (!all_ram(*this, to, from.size())) return false;
    return for_each_page(*this, to, from.size(), [&](std::byte* host, std::uint64_t done, std::uint64_t now) {
        std::memcpy(host, from.data() + done, now);
    });
}

bool GuestMemory::take(GuestPhysical to, std::span<std::byte> from) {
    constexpr std::uint64_t worth_it = std::uint64_t{1} << 20;
    if (from.size() < worth_it || !all_ram(*this, to, from.size())) return write(to, from);
    std::uint64_t head = (page_size - to.page_offset()) % page_size;
    std::uint64_t whole = (from.size() - head) / page_size * page_size;
    std::byte* source = from.data() + head;
    bool fits =
        reinterpret_cast<std::uintptr_t>(source) % page_size == 0 && is_one_piece(*this, to + head, whole);
    // The source stays mapped, empty: whoever owns it may free it as if nothing had happened.
    constexpr int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    if (!fits || mremap(source, whole, whole, flags, host(to + head)) == MAP_FAILED) return write(to, from);
    return write(to, from.first(head)) && write(to + (head + whole), from.subspan(head + whole));
}

std::uint64_t GuestMemory::size() const {
    std::uint64_t bytes = 0;
    for (const MemoryRegion& region : regions_) bytes += region.size;
    return bytes;
}

std::uint64_t GuestMemory::page_limit() const { return pmap_.page_limit(); }

template <class Action>
bool GuestMemory::for_each_resident_frame(Action action) const {
    constexpr std::uint64_t pages_at_once = 1 << 18;
    std::vector<unsigned char> present(std::min(pages_at_once, pool_size_ >> 12));
    for (std::uint64_t done = 0; done < pool_size_ >> 12; done += present.size()) {
        std::uint64_t now = std::min<std::uint64_t>(present.size(), (pool_size_ >> 12) - done);
        if (mincore(pool_ + (done << 12), now << 12, present.data()) != 0) return false;
        for (std::uint64_t page = 0; page < now; page++)
            if ((present[page] & 1u) != 0) action(done + page);
    }
    return true;
}

std::uint64_t GuestMemory::resident() const {
    std::uint64_t pages = 0;
    bool known = for_each_resident_frame([&](std::uint64_t) { pages++; });
    return known ? pages << 12 : 0;
}

// Frames are given to the regions in their order, from 1 on.
std::vector<std::uint64_t> GuestMemory::resident_pages() const {
    std::vector<std::uint64_t> pages;
    std::size_t region = 0;
    std::uint64_t first = 1;  // frame of the region
    for_each_resident_frame([&](std::uint64_t frame) {
        while (region < regions_.size() && frame >= first + (regions_[region].size >> 12))
            first += regions_[region++].size >> 12;
        if (region < regions_.size() && frame >= first)
            pages.push_back(regions_[region].start.page() + (frame - first));
    });
    return pages;
}

}  // namespace undercroft
