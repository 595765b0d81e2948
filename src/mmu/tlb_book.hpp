// SPDX-License-Identifier: Apache-2.0
// The books of the software TLB: which of its entries are in use, so that flushes touch only those.
//
// Translated code reads the TLB; it is written here alone. Bit i of a mode's bitmap stands for entry i.
// Called from translated code's helpers: general registers only.

#pragma once

#include "mmu/tlb.hpp"
#include "mmu/zeroed_array.hpp"

#include <array>
#include <cstdint>

namespace undercroft {

// What one entry of the software TLB is to hold. Whatever may be written may be read.
struct TlbFill {
    std::uint64_t page = 0;  // virtual address
    std::uint64_t pfn = 0;
    std::byte* host_page = nullptr;
    bool writable = false;  // grants the write tag
    bool global = false;
};

class TlbBook {
public:
    // Empties `tlb`, which need not have been initialised.
    TlbBook(Tlb& tlb, std::uint64_t page_limit);

    void fill(AccessMode mode, const TlbFill& fill) noexcept;
    void flush_all() noexcept;
    void flush_non_global() noexcept;
    void flush_page(std::uint64_t page) noexcept;
    void flush_range(std::uint64_t start, std::uint64_t length) noexcept;
    // No entry grants a write to this physical page any more.
    void drop_writes(std::uint64_t pfn) noexcept;

private:
    static constexpr unsigned word_count = Tlb::entry_count / 64;
    using Bitmap = std::array<std::uint64_t, word_count>;
    using Bitmaps = std::array<Bitmap, access_mode_count>;

    static void clear(TlbEntry& entry, unsigned index) noexcept {
        entry.read_tag = Tlb::never_tag(index);
        entry.write_tag = Tlb::never_tag(index);
    }
    void flush(Bitmaps& bitmaps) noexcept;
    template <class Action>
    void for_each_in_use(Action action) noexcept;

    Tlb& tlb_;
    Bitmaps global_;      // in use, for a global page
    Bitmaps non_global_;  // in use, for another
    // A bit per PFN: a write tag has been granted since the last drop_writes(). Spares most scans for it.
    std::uint64_t page_limit_;
    ZeroedArray<std::uint64_t> write_granted_;
};

}  // namespace undercroft
