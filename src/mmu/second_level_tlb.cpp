// SPDX-License-Identifier: Apache-2.0
#include "mmu/second_level_tlb.hpp"

namespace undercroft {

void SecondLevelTlb::insert(std::uint64_t page, std::uint64_t pfn, std::uint8_t rights,
                            std::byte* host_page) noexcept {
    Set& set = sets_[index_of(page)];
    SecondLevelEntry& newest = set.way[0];
    // The new entry takes the first place; who had it moves on, unless it is dead or the same page.
    if (newest.page == page) {
        if (set.way[1].page == page) set.way[1].generation = 0;
    } else if (alive(newest)) {
        set.way[1] = newest;
    } else if (set.way[1].page == page) {
        set.way[1].generation = 0;
    }
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
