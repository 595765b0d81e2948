// SPDX-License-Identifier: Apache-2.0
#include "mmu/tlb_book.hpp"

#include <bit>

namespace undercroft {

TlbBook::TlbBook(Tlb& tlb, std::uint64_t page_limit)
    : tlb_{tlb}, page_limit_{page_limit}, write_granted_{page_limit / 64 + 1} {
    for (unsigned mode = 0; mode < access_mode_count; mode++) {
        for (unsigned index = 0; index < Tlb::entry_count; index++) clear(tlb_.entries[mode][index], index);
        for (unsigned word = 0; word < word_count; word++) global_[mode][word] = non_global_[mode][word] = 0;
    }
}

template <class Action>
void TlbBook::for_each_in_use(Action action) noexcept {
    for (unsigned mode = 0; mode < access_mode_count; mode++) {
        for (unsigned word = 0; word < word_count; word++) {
            std::uint64_t bits = global_[mode][word] | non_global_[mode][word];
            for (; bits != 0; bits &= bits - 1) {
                unsigned index = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
                action(tlb_.entries[mode][index], index, tlb_.physical_page[mode][index]);
            }
        }
    }
}

void TlbBook::flush_all() noexcept {
    for_each_in_use([](TlbEntry& entry, unsigned index, std::uint64_t) { clear(entry, index); });
    for (unsigned mode = 0; mode < access_mode_count; mode++)
        for (unsigned word = 0; word < word_count; word++) global_[mode][word] = non_global_[mode][word] = 0;
}

void TlbBook::flush_non_global() noexcept {
    for (unsigned mode = 0; mode < access_mode_count; mode++) {
        for (unsigned word = 0; word < word_count; word++) {
            std::uint64_t bits = non_global_[mode][word];
            if (bits == 0) continue;
            non_global_[mode][word] = 0;
            for (; bits != 0; bits &= bits - 1) {
                unsigned index = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
                if (tlb_.physical_page[mode][index] >> 63 == 0) clear(tlb_.entries[mode][index], index);
            }
        }
    }
}

// A stale bit in a bitmap does no harm, so only the entries change.
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
