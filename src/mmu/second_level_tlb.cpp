// SPDX-License-Identifier: Apache-2.0
#include "mmu/second_level_tlb.hpp"

namespace undercroft {

void SecondLevelTlb::insert(std::uint64_t page, std::uint64_t pfn, std::uint8_t rights,
                            std::byte* host_page) noexcept {
    Set& set = sets_[index_of(page)];
    SecondLevelEntry& newest = set.way[0];
    SecondLevelEntry& older = set.way[1];
    // The new entry takes the first place. Who had it moves on, but not onto a live entry if it is dead
    // itself (or another address space's). No page has two live entries.
    if (older.page == page && alive(older)) older.generation = 0;
    bool replaces = newest.page == page && alive(newest);
    if (!replaces && (alive(newest) || !alive(older))) older = newest;
    newest.page = page;
    newest.frame_and_rights = pfn << 12 | rights;
    newest.host_page = host_page;
    newest.generation = (rights & PageRights::Global) != 0 ? global_generation_ : generation_;
}

void SecondLevelTlb::remove(std::uint64_t page) noexcept {
    for (SecondLevelEntry& entry : sets_[index_of(page)].way)
        if (entry.page == page) entry.generation = 0;
}

void SecondLevelTlb::remove_range(std::uint64_t start, std::uint64_t length) noexcept {
    if (length >> 12 <= set_count) {
        for (std::uint64_t done = 0; done < length; done += 4096) remove(start + done);
        return;
    }
    for (unsigned index = 0; index < set_count; index++)
        for (SecondLevelEntry& entry : sets_[index].way)
            if (entry.page - start < length) entry.generation = 0;
}

}  // namespace undercroft
