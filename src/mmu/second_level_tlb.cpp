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
    bool free = newest.generation == 0;
    if (!replaces && !free && (alive(newest) || !alive(older))) older = newest;
    newest.page = page;
    newest.frame_and_rights = pfn << 12 | rights;
    newest.host_page = host_page;
    newest.generation = (rights & PageRights::Global) != 0 ? global_generation_ : generation_;
}

void SecondLevelTlb::remove_of(unsigned pcid, std::uint64_t page) noexcept {
    for (SecondLevelEntry& entry : sets_[index_of(page)].way) {
        bool concerned = entry.generation == generations_[pcid] || entry.generation == global_generation_;
        if (entry.page == page && concerned) entry.generation = 0;
    }
}

void SecondLevelTlb::remove_range(std::uint64_t start, std::uint64_t length) noexcept {
    if (length >> 12 <= set_count) {
        for (std::uint64_t done = 0; done < length; done += 4096)
            for (SecondLevelEntry& entry : sets_[index_of(start + done)].way)
                if (entry.page == start + done) entry.generation = 0;
        return;
    }
    for (unsigned index = 0; index < set_count; index++)
        for (SecondLevelEntry& entry : sets_[index].way)
            if (entry.page - start < length) entry.generation = 0;
}

}  // namespace undercroft
