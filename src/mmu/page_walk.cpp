// SPDX-License-Identifier: Apache-2.0
#include "mmu/page_walk.hpp"

#include "base/bits.hpp"

#include <array>
#include <atomic>

namespace undercroft {
namespace {

using TableAddress = Bits<physical_address_bits - 1, 12>;
using AbovePhysical = Bits<51, physical_address_bits>;
constexpr unsigned level_count = 4;  // 0 page table, 1 page directory, 2 PDP table, 3 PML4

// Bits that must be zero in an entry of this level with P set, apart from XD and the address above the
// physical width.
constexpr std::uint64_t reserved_low(unsigned level, bool large) {
    if (level == 3) return PageEntry::PS;
    if (!large) return 0;
    return level == 2 ? Bits<29, 13>::mask<std::uint64_t>() : Bits<20, 13>::mask<std::uint64_t>();
}

std::uint64_t load(std::uint64_t& entry) { return std::atomic_ref{entry}.load(std::memory_order_relaxed); }

}  // namespace

// The entries that one walk has used, from level `top` down to level `leaf`.
struct PageWalk::Path {
    unsigned top;
    unsigned leaf;
    std::uint64_t all;        // AND of the entries: R/W and U/S count when set at all levels
    std::uint64_t any;        // OR of the entries: XD counts at any
    std::uint64_t table;      // physical address of the table to look in, in the end the leaf's frame
    std::byte* host;          // where the table lies; null: not in RAM
    std::uint64_t upper_all;  // as above, without the leaf
    std::uint64_t upper_any;
    std::array<std::uint64_t*, level_count> entry;
    std::array<std::uint64_t, level_count> value;
    std::array<std::uint64_t, level_count> physical;
};

bool PageWalk::walk(GuestVirtual address, Access access, AccessMode mode, WalkEffect effect,
                    WalkResult& result, Trap& trap) noexcept {
    std::uint32_t error = 0;
    Outcome outcome = Outcome::Fault;
    if (state_.long_mode()) {
        do {
            outcome = attempt(address, access, mode, effect, result, error);
        } while (outcome == Outcome::Retry);
    }
    if (outcome == Outcome::Done) return true;

    if (access == Access::Write) error |= PageFault::W;
    if (mode == AccessMode::User) error |= PageFault::U;
    if (access == Access::Execute && (state_.no_execute() || state_.smep())) error |= PageFault::I;
    trap = Trap::page_fault(address.value(), error);
    return false;
}

PageWalk::Outcome PageWalk::attempt(GuestVirtual address, Access access, AccessMode mode, WalkEffect effect,
                                    WalkResult& result, std::uint32_t& error) noexcept {
    Path path;
    start(address, path);
    Outcome outcome = descend(address, path, error);
    unsigned rights = 0;
    if (outcome == Outcome::Done) {
        std::uint64_t leaf = path.value[path.leaf];
        if ((path.all & PageEntry::RW) != 0) rights |= PageRights::Write;
        if ((path.all & PageEntry::US) != 0) rights |= PageRights::User;
        if ((path.any & PageEntry::XD) != 0) rights |= PageRights::NoExecute;
        if ((leaf & PageEntry::D) != 0) rights |= PageRights::Dirty;
        if ((leaf & PageEntry::G) != 0 && state_.global_pages()) rights |= PageRights::Global;
        if (path.leaf == 1) rights |= PageRights::Large2M;
        if (path.leaf == 2) rights |= PageRights::Large1G;
        if (!permits(static_cast<std::uint8_t>(rights), access, mode, state_)) {
            error = PageFault::P;
            outcome = Outcome::Fault;
        }
    }
    if (outcome == Outcome::Fault && path.top != level_count - 1) {
        directories_.flush();  // it may have been out of date: no fault without a look at all levels
        return Outcome::Retry;
    }
    if (outcome != Outcome::Done) return outcome;
    if (effect == WalkEffect::AccessedAndDirty) {
        if (!mark_used(path, access)) {
            directories_.flush();
            return Outcome::Retry;
        }
        if (access == Access::Write) rights |= PageRights::Dirty;
        if (path.leaf == 0 && path.top != 0)
            directories_.insert(address, path.physical[0] & ~(page_size - 1), path.host, path.upper_all,
                                path.upper_any);
    }
    std::uint64_t inside =
        (1ull << 9 * path.leaf) - 1;  // pages; clears PAT, bit 12 of a large page's address
    result.pfn = (path.table >> 12 & ~inside) | (address.page() & inside);
    result.rights = static_cast<std::uint8_t>(rights);
    return Outcome::Done;
}

// At the root, or at the page table if that is known.
void PageWalk::start(GuestVirtual address, Path& path) const noexcept {
    if (const DirectoryCache::Entry* known = directories_.find(address)) {
        path.top = 0;
        path.all = known->all;
        path.any = known->any;
        path.table = known->table;
        path.host = known->host;
        return;
    }
    path.top = level_count - 1;
    path.all = ~0ull;
    path.any = 0;
    path.table = TableAddress::get(state_.cr3) << 12;
    path.host = memory_.writable_to_keep(GuestPhysical{path.table});
}

PageWalk::Outcome PageWalk::descend(GuestVirtual address, Path& path, std::uint32_t& error) const noexcept {
    std::uint64_t reserved = AbovePhysical::mask<std::uint64_t>() | (state_.no_execute() ? 0 : PageEntry::XD);
    for (unsigned level = path.top;; level--) {
        std::uint64_t offset = (address.value() >> (12 + 9 * level) & 0x1ff) * sizeof(std::uint64_t);
        path.entry[level] = path.host ? reinterpret_cast<std::uint64_t*>(path.host + offset) : nullptr;
        path.physical[level] = path.table + offset;
        std::uint64_t value = path.host ? load(*path.entry[level]) : ~0ull;  // reserved bits: it faults
        path.value[level] = value;
        if ((value & PageEntry::P) == 0) {
            error = 0;
            return Outcome::Fault;
        }
        bool large = level != 0 && (value & PageEntry::PS) != 0;
        if ((value & (reserved | reserved_low(level, large))) != 0) {
            error = PageFault::P | PageFault::RSVD;
            return Outcome::Fault;
        }
        path.upper_all = path.all;
        path.upper_any = path.any;
        path.all &= value;
        path.any |= value;
        path.table = TableAddress::get(value) << 12;
        path.leaf = level;
        if (level == 0 || large) return Outcome::Done;
        path.host = memory_.writable_to_keep(GuestPhysical{path.table});
    }
}

// Sets A and D where they are missing, root first. False when an entry is no longer what the walk has seen.
bool PageWalk::mark_used(const Path& path, Access access) const noexcept {
    for (unsigned level = path.top + 1; level-- > path.leaf;) {
        std::uint64_t seen = path.value[level];
        std::uint64_t wanted = seen | PageEntry::A;
        if (level == path.leaf && access == Access::Write) wanted |= PageEntry::D;
        if (wanted == seen) continue;
        if (!std::atomic_ref{*path.entry[level]}.compare_exchange_strong(seen, wanted)) return false;
        code_pages_.wrote(GuestPhysical{path.physical[level]}, sizeof(std::uint64_t));
    }
    return true;
}

}  // namespace undercroft
