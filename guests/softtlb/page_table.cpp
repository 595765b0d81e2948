// SPDX-License-Identifier: Apache-2.0
#include "page_table.hpp"

#include "console.hpp"

namespace softtlb {

// Who finds its place taken goes to the next free one.
u64 PageTable::find(u64 page, unsigned process) const {
    u64 key = key_of(page, process);
    for (unsigned slot = first_slot(key); slots_[slot].key != 0; slot = (slot + 1) % slot_count)
        if (slots_[slot].key == key) return slots_[slot].low;
    return 0;
}

void PageTable::insert(u64 page, unsigned process, u64 low) {
    u64 key = key_of(page, process);
    unsigned slot = first_slot(key);
    for (unsigned tried = 0; slots_[slot].key != 0 && slots_[slot].key != key; tried++) {
        if (tried == slot_count) panic("the page table is full", key);
        slot = (slot + 1) % slot_count;
    }
    slots_[slot] = {key, low};
}

}  // namespace softtlb
