// SPDX-License-Identifier: Apache-2.0
#include "mmu/guest_filled_tlb.hpp"

namespace undercroft {

const GuestFilledTlb::Entry* GuestFilledTlb::find_in_set(std::uint64_t key) const noexcept {
    for (const Entry& entry : sets_[index_of(key)])
        if (entry.key == key && alive(entry)) return &entry;
    return nullptr;
}

// An entry of the address space comes before a global one.
GuestFilledTlb::Found GuestFilledTlb::find(std::uint64_t page, unsigned asid) const noexcept {
    for (unsigned whose : {asid, global}) {
        std::uint64_t key = key_of(page, whose);
        if (second_level_)
            if (const Entry* entry = find_in_set(key)) return {entry, true};
        for (const Entry& entry : first_)
            if (entry.key == key && alive(entry)) return {&entry, false};
    }
    return {};
}

GuestFilledTlb::Displaced GuestFilledTlb::insert(std::uint64_t page, unsigned asid,
                                                 std::uint64_t low) noexcept {
    unsigned whose = (low & software_tlb::EntryLo::Global) != 0 ? global : asid;
    Entry entry{key_of(page, whose), low, generations_[whose]};
    std::uint64_t first = insert_first(entry);
    return {first, second_level_ ? insert_second(entry) : no_page};
}

// An entry that is written anew has its turn anew.
std::uint64_t GuestFilledTlb::insert_first(const Entry& entry) noexcept {
    for (Entry& old : first_)
        if (old.key == entry.key) old.generation = 0;
    Entry& place = first_[next_];
    next_ = (next_ + 1) % first_level_entries;
    std::uint64_t displaced = alive(place) ? place.key & software_tlb::EntryHi::Page : no_page;
    place = entry;
    return displaced;
}

// The newest is the first of its set; those before the one that goes move on by a place.
std::uint64_t GuestFilledTlb::insert_second(const Entry& entry) noexcept {
    Set& set = sets_[index_of(entry.key)];
    unsigned place = 0;
    while (place < way_count - 1 && set[place].key != entry.key && alive(set[place])) place++;
    bool displaces = set[place].key != entry.key && alive(set[place]);
    std::uint64_t displaced = displaces ? set[place].key & software_tlb::EntryHi::Page : no_page;
    for (; place > 0; place--) set[place] = set[place - 1];
    set[0] = entry;
    for (unsigned way = 1; way < way_count; way++)
        if (set[way].key == entry.key) set[way].generation = 0;
    return displaced;
}

void GuestFilledTlb::remove_key(std::uint64_t key) noexcept {
    for (Entry& entry : sets_[index_of(key)])
        if (entry.key == key) entry.generation = 0;
    for (Entry& entry : first_)
        if (entry.key == key) entry.generation = 0;
}

void GuestFilledTlb::remove(std::uint64_t page, unsigned asid) noexcept {
    remove_key(key_of(page, asid));
    remove_key(key_of(page, global));
}

void GuestFilledTlb::flush_all() noexcept {
    last_generation_++;
    for (std::uint64_t& generation : generations_) generation = last_generation_;
}

// Either way it begins empty.
void GuestFilledTlb::use_second_level(bool use) noexcept {
    second_level_ = use;
    flush_all();
}

}  // namespace undercroft
