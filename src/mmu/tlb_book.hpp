// SPDX-License-Identifier: Apache-2.0
// The books of the software TLB: which of its entries are in use, so that flushes touch only those.
//
// Translated code reads the TLB; it is written here alone. Bit i of a mode's bitmap stands for entry i.
// Called from translated code's helpers: general registers only.

#pragma once

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
        Bitmaps& bitmaps = global ? global_ : non_global_;
        bitmaps[static_cast<unsigned>(mode)][index / 64] |= 1ull << index % 64;
        if (!writable || may_grant_write(pfn) || pfn >= page_limit_) return false;
        note_granted(pfn);
        return true;
    }
    // Has an entry granted a write to this physical page since drop_writes()? Any thread.
    bool may_grant_write(std::uint64_t pfn) const noexcept {
        return pfn < page_limit_ && (granted(pfn).load(std::memory_order_relaxed) >> pfn % 64 & 1) != 0;
    }
    void flush_all() noexcept;
    void flush_non_global() noexcept;
    void flush_page(std::uint64_t page) noexcept;
    void flush_range(std::uint64_t start, std::uint64_t length) noexcept;
    // No entry grants a write to this physical page any more.
    void drop_writes(std::uint64_t pfn) noexcept;
    void drop_all_writes() noexcept;

private:
    static constexpr unsigned word_count = Tlb::entry_count / 64;
    using Bitmap = std::array<std::uint64_t, word_count>;
    using Bitmaps = std::array<Bitmap, access_mode_count>;

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
    void for_each_in_use(Action action) noexcept;

    Tlb& tlb_;
    // Filled for a global page, and for another, since the last flush of that kind. An entry may be in both:
    // the bit in the entry itself says which was last.
    Bitmaps global_;
    Bitmaps non_global_;
    // A bit per PFN: a write tag has been granted since the last drop_writes(). Spares most scans for it.
    // Written by the vCPU's own thread.
    std::uint64_t page_limit_;
    ZeroedArray<std::uint64_t> write_granted_;
};

}  // namespace undercroft
