// SPDX-License-Identifier: Apache-2.0
#include "mmu/tlb_book.hpp"

namespace undercroft {

TlbBook::TlbBook(Tlb& tlb, std::uint64_t page_limit)
    : tlb_{tlb}, page_limit_{page_limit}, write_granted_{page_limit / 64 + 1} {
    for (Tlb::Array& array : tlb_.entries)
        for (unsigned index = 0; index < Tlb::entry_count; index++) clear(array[index], index);
}

template <class Action>
void TlbBook::for_each_in_use(Action action) noexcept {
    for (unsigned mode = 0; mode < access_mode_count; mode++) {
        auto act = [&](unsigned index) {
            action(tlb_.entries[mode][index], index, tlb_.physical_page[mode][index]);
        };
        global_[mode].for_each(act);
        non_global_[mode].for_each(act);
    }
    kept_.for_each([&](Kept& kept) { action(kept.entry, kept.index, kept.physical_page); });
}

// Entries that are not global, before they are cleared.
template <class Action>
void TlbBook::drain_non_global(Action action) noexcept {
    for (unsigned mode = 0; mode < access_mode_count; mode++) {
        non_global_[mode].drain([&](unsigned index) {
            std::uint64_t physical = tlb_.physical_page[mode][index];
            if (physical >> 63 != 0) return;
            TlbEntry& entry = tlb_.entries[mode][index];
            action(entry, physical, index, mode);
            clear(entry, index);
        });
    }
}

void TlbBook::flush_all() noexcept {
    for (unsigned mode = 0; mode < access_mode_count; mode++) {
        auto clear_slot = [&](unsigned index) { clear(tlb_.entries[mode][index], index); };
        global_[mode].drain(clear_slot);
        non_global_[mode].drain(clear_slot);
    }
    kept_.forget_all();
}

void TlbBook::flush_non_global() noexcept {
    drain_non_global([](const TlbEntry&, std::uint64_t, unsigned, unsigned) {});
    kept_.forget_all();
}

void TlbBook::switch_address_space(unsigned from, unsigned to, OldEntries of_to) noexcept {
    auto& leaving = kept_.begin(from);
    drain_non_global([&](const TlbEntry& entry, std::uint64_t physical, unsigned index, unsigned mode) {
        if (entry.read_tag == Tlb::never_tag(index)) return;
        leaving.add({entry, physical, static_cast<std::uint16_t>(index), static_cast<std::uint16_t>(mode)});
    });
    if (of_to == OldEntries::Drop) return kept_.forget(to);
    kept_.take(to, [&](const Kept& kept) {
        TlbEntry& entry = tlb_.entries[kept.mode][kept.index];
        if (entry.read_tag != Tlb::never_tag(kept.index)) return;  // a global one has taken its place
        entry = kept.entry;
        tlb_.physical_page[kept.mode][kept.index] = kept.physical_page;
        non_global_[kept.mode].insert(kept.index);
    });
}

// A stale bit in a set does no harm, so only the entries change.
void TlbBook::flush_page(std::uint64_t page) noexcept {
    unsigned index = Tlb::index_of(page);
    for (Tlb::Array& array : tlb_.entries)
        if (array[index].read_tag == page) clear(array[index], index);
}

void TlbBook::flush_range(std::uint64_t start, std::uint64_t length) noexcept {
    for_each_in_use([=](TlbEntry& entry, unsigned index, std::uint64_t) {
        if (entry.read_tag - start < length) clear(entry, index);
    });
}

void TlbBook::drop_writes(std::uint64_t pfn) noexcept {
    if (!may_grant_write(pfn)) return;
    for_each_in_use([=](TlbEntry& entry, unsigned index, std::uint64_t physical) {
        if ((physical & ~(1ull << 63)) == pfn) entry.write_tag = Tlb::never_tag(index);
    });
    auto word = granted(pfn);
    word.store(word.load(std::memory_order_relaxed) & ~(1ull << pfn % 64), std::memory_order_relaxed);
}

void TlbBook::drop_all_writes() noexcept {
    for_each_in_use(
        [](TlbEntry& entry, unsigned index, std::uint64_t) { entry.write_tag = Tlb::never_tag(index); });
}

}  // namespace undercroft
