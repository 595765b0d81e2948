// SPDX-License-Identifier: Apache-2.0
// The page table: one hash for all processes, from (page, process) to the TLB entry's second word.
//
// No processor reads it, so that its form is our own affair. A tree as x86's takes a frame for each few
// megabytes of an address space and four reads for each look-up; this takes two words for each page, and
// mostly one read.

#pragma once

#include "machine.hpp"

namespace softtlb {

class PageTable {
public:
    // The page's EntryLo; zero if it has none.
    u64 find(u64 page, unsigned process) const;
    void insert(u64 page, unsigned process, u64 low);
    // Calls action(EntryLo) for each page of the process, and forgets them.
    template <class Action>
    void remove_all(unsigned process, Action action) {
        for (Slot& slot : slots_) {
            if (slot.key == 0 || (slot.key & (page_size - 1)) != process) continue;
            action(slot.low);
            slot.low = 0;  // the key stays: others may have been put behind it
        }
    }

private:
    static constexpr unsigned slot_bits = 12;
    static constexpr unsigned slot_count = 1u << slot_bits;

    struct Slot {
        u64 key;  // page | process; zero: free
        u64 low;
    };
    static u64 key_of(u64 page, unsigned process) { return page | process; }
    static unsigned first_slot(u64 key) {
        return static_cast<unsigned>(key * 0x9e3779b97f4a7c15 >> (64 - slot_bits));
    }

    Slot slots_[slot_count];
};

}  // namespace softtlb
