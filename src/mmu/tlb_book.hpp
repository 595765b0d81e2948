// SPDX-License-Identifier: Apache-2.0
// The books of the software TLB: which of its entries are in use, so that flushes touch only those; and
// entries of address spaces (PCIDs) that are not the current one, which the TLB has no room for.
//
// Translated code reads the TLB; it is written here alone.
// Called from translated code's helpers: general registers only.

#pragma once

#include "mmu/kept_entries.hpp"
#include "mmu/slot_set.hpp"
#include "mmu/tlb.hpp"
#include "mmu/zeroed_array.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace undercroft {

class TlbBook {
public:
    // Empties `tlb`, which need not have been initialised.
    TlbBook(Tlb& tlb, std::uint64_t page_limit);

    // Whatever may be written may be read; `writable` grants the write tag. True: that is the first one for
    // this physical page since drop_writes().
    bool fill(AccessMode mode, std::uint64_t page, std::uint64_t pfn, std::byte* host_page, bool writable,
              bool global) noexcept {
        unsigned index = Tlb::index_of(page);
        TlbEntry& entry = tlb_.entries[static_cast<unsigned>(mode)][index];
        entry.read_tag = page;
        entry.write_tag = writable ? page : Tlb::never_tag(index);
        entry.host_page = host_page;
        entry.distance = reinterpret_cast<std::uintptr_t>(host_page) - page;
        tlb_.physical_page[static_cast<unsigned>(mode)][index] = pfn | std::uint64_t{global} << 63;
        Slots& slots = global ? global_ : non_global_;
        slots[static_cast<unsigned>(mode)].insert(index);
        if (!writable || may_grant_write(pfn) || pfn >= page_limit_) return false;
        note_granted(pfn);
        return true;
    }
    // Has an entry granted a write to this physical page since drop_writes()? Any thread.
    bool may_grant_write(std::uint64_t pfn) const noexcept {
        return pfn < page_limit_ && (granted(pfn).load(std::memory_order_relaxed) >> pfn % 64 & 1) != 0;
    }
    // Flushes reach what is kept of other address spaces; flush_page() is the current one's.
    void flush_all() noexcept;
    void flush_non_global() noexcept;
    void flush_page(std::uint64_t page) noexcept;
    void flush_range(std::uint64_t start, std::uint64_t length) noexcept;
    // Entries of `from`, but global ones, make room for those kept of `to`, if any are wanted.
    void switch_address_space(unsigned from, unsigned to, OldEntries of_to) noexcept;
    // Of an address space that is not the current one.
    void forget_address_space(unsigned pcid) noexcept { kept_.forget(pcid); }
    // No entry grants a write to this physical page any more.
    void drop_writes(std::uint64_t pfn) noexcept;
    void drop_all_writes() noexcept;

private:
    using Slots = std::array<SlotSet, access_mode_count>;
    static_assert(SlotSet::size == Tlb::entry_count);
    struct Kept {
        TlbEntry entry;
        std::uint64_t physical_page;
        std::uint16_t index;
        std::uint16_t mode;
    };

    static void clear(TlbEntry& entry, unsigned index) noexcept {
        entry.read_tag = Tlb::never_tag(index);
        entry.write_tag = Tlb::never_tag(index);
    }
    std::atomic_ref<std::uint64_t> granted(std::uint64_t pfn) const noexcept {
        return std::atomic_ref{const_cast<std::uint64_t&>(write_granted_[pfn / 64])};
    }
    void note_granted(std::uint64_t pfn) noexcept {
        auto word = granted(pfn);
        word.store(word.load(std::memory_order_relaxed) | 1ull << pfn % 64, std::memory_order_relaxed);
    }
    template <class Action>
    void for_each_in_use(Action action) noexcept;  // in every address space
    template <class Action>
    void drain_non_global(Action action) noexcept;

    Tlb& tlb_;
    // Filled for a global page, and for another, since the last flush of that kind. An entry may be in both:
    // the bit in the entry itself says which was last.
    Slots global_;
    Slots non_global_;
    KeptEntries<Kept> kept_;
    // A bit per PFN: a write tag has been granted since the last drop_writes(). Spares most scans for it.
    // Written by the vCPU's own thread.
    std::uint64_t page_limit_;
    ZeroedArray<std::uint64_t> write_granted_;
};

}  // namespace undercroft
