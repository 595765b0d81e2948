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

// The entries that one walk used, root first in time, leaf first in the array.
struct PageWalk::Path {
    unsigned leaf = 0;  // level
    std::array<std::uint64_t*, level_count> host;
    std::array<std::uint64_t, level_count> value;
    std::array<std::uint64_t, level_count> physical;
};

bool PageWalk::walk(GuestVirtual address, Access access, AccessMode mode, WalkEffect effect,
                    WalkResult& result, Trap& trap) const noexcept {
    std::uint32_t error = 0;
    Outcome outcome = Outcome::Fault;
    if (state_.long_mode()) {
        do {
            outcome = attempt(address, access, mode, effect, result, error);
        } while (outcome == Outcome::TablesChanged);
    }
    if (outcome == Outcome::Done) return true;

    if (access == Access::Write) error |= PageFault::W;
    if (mode == AccessMode::User) error |= PageFault::U;
    if (access == Access::Execute && (state_.no_execute() || state_.smep())) error |= PageFault::I;
    trap = Trap::page_fault(address.value(), error);
    return false;
}

PageWalk::Outcome PageWalk::attempt(GuestVirtual address, Access access, AccessMode mode, WalkEffect effect,
                                    WalkResult& result, std::uint32_t& error) const noexcept {
    std::uint64_t reserved = AbovePhysical::mask<std::uint64_t>() | (state_.no_execute() ? 0 : PageEntry::XD);
    std::uint64_t all = ~0ull;  // ANDed: R/W and U/S count when set at all levels
    std::uint64_t any = 0;      // ORed: XD counts at any
    std::uint64_t table = state_.cr3 & TableAddress::mask<std::uint64_t>();
    std::uint64_t leaf = 0;
    Path path;

    unsigned level = level_count;
    do {
        level--;
        unsigned shift = 12 + 9 * level;
        std::uint64_t physical = table | (address.value() >> shift & 0x1ff) << 3;
        std::byte* host = memory_.host(GuestPhysical{physical});
        path.host[level] = reinterpret_cast<std::uint64_t*>(host);
        path.physical[level] = physical;
        leaf = host ? load(*path.host[level]) : ~0ull;
        path.value[level] = leaf;
        if ((leaf & PageEntry::P) == 0) {
            error = 0;
            return Outcome::Fault;
        }
        bool large = level != 0 && (leaf & PageEntry::PS) != 0;
        if ((leaf & (reserved | reserved_low(level, large))) != 0) {
            error = PageFault::P | PageFault::RSVD;
            return Outcome::Fault;
        }
        all &= leaf;
        any |= leaf;
        table = leaf & TableAddress::mask<std::uint64_t>();
        if (large) break;
    } while (level != 0);
    path.leaf = level;

    unsigned rights = 0;
    if ((all & PageEntry::RW) != 0) rights |= PageRights::Write;
    if ((all & PageEntry::US) != 0) rights |= PageRights::User;
    if ((any & PageEntry::XD) != 0) rights |= PageRights::NoExecute;
    if (level == 1) rights |= PageRights::Large2M;
    if (level == 2) rights |= PageRights::Large1G;
    if ((leaf & PageEntry::G) != 0 && state_.global_pages()) rights |= PageRights::Global;
    if ((leaf & PageEntry::D) != 0) rights |= PageRights::Dirty;
    if (!permits(static_cast<std::uint8_t>(rights), access, mode, state_)) {
        error = PageFault::P;
        return Outcome::Fault;
    }
    if (effect == WalkEffect::AccessedAndDirty) {
        if (!mark_used(path, access)) return Outcome::TablesChanged;
        if (access == Access::Write) rights |= PageRights::Dirty;
    }
    std::uint64_t inside = address.page() & ((1ull << 9 * level) - 1);
    result.pfn = (table >> 12 & ~((1ull << 9 * level) - 1)) | inside;  // clears PAT, bit 12 of a large page
    result.rights = static_cast<std::uint8_t>(rights);
    return Outcome::Done;
}

// Sets A and D where they are missing, root first. False when an entry is no longer what the walk has seen.
bool PageWalk::mark_used(const Path& path, Access access) const noexcept {
    for (unsigned level = level_count; level-- > path.leaf;) {
        std::uint64_t seen = path.value[level];
        std::uint64_t wanted = seen | PageEntry::A;
        if (level == path.leaf && access == Access::Write) wanted |= PageEntry::D;
        if (wanted == seen) continue;
        if (!std::atomic_ref{*path.host[level]}.compare_exchange_strong(seen, wanted)) return false;
        code_pages_.wrote(GuestPhysical{path.physical[level]}, sizeof(std::uint64_t));
    }
    return true;
}

}  // namespace undercroft
