// SPDX-License-Identifier: Apache-2.0
// What a table that holds one address space at a time has held of others: short lists by PCID, from which it
// is filled again when the guest goes on with one of them.
//
// An entry here is a TLB entry as any other: every flush that concerns its address space has to reach it, and
// so has whatever takes a page away from all of them. An address space that finds its list taken has
// forgotten nothing but time: there is the second-level TLB behind it.
//
// Inlined everywhere: used by helpers of translated code, where a weak definition could be another object's.

#pragma once

#include "mmu/zeroed_array.hpp"

#include <array>
#include <cstdint>

namespace undercroft {

template <class Entry>
class KeptEntries {
public:
    static constexpr unsigned most = 64;  // of one address space

    struct List {
        std::uint32_t count = 0;
        std::uint32_t pcid = 0;
        std::array<Entry, most> entry;

        [[gnu::always_inline]] void add(const Entry& kept) noexcept {
            if (count < most) entry[count++] = kept;
        }
    };

    KeptEntries() : lists_{list_count} {}

    // An empty one, in the place of what this address space or one that shares its place had.
    [[gnu::always_inline]] List& begin(unsigned pcid) noexcept {
        List& list = list_of(pcid);
        list.count = 0;
        list.pcid = pcid;
        return list;
    }
    // Calls `action` for what was kept of the address space; then nothing is.
    template <class Action>
    [[gnu::always_inline]] void take(unsigned pcid, Action action) noexcept {
        List& list = list_of(pcid);
        if (list.pcid != pcid) return;
        for (unsigned n = 0; n < list.count; n++) action(list.entry[n]);
        list.count = 0;
    }
    [[gnu::always_inline]] void forget(unsigned pcid) noexcept {
        take(pcid, [](const Entry&) {});
    }
    [[gnu::always_inline]] void forget_all() noexcept {
        for (unsigned n = 0; n < list_count; n++) lists_[n].count = 0;
    }
    template <class Action>
    [[gnu::always_inline]] void for_each(Action action) noexcept {
        for (unsigned n = 0; n < list_count; n++)
            for (unsigned m = 0; m < lists_[n].count; m++) action(lists_[n].entry[m]);
    }

private:
    // Linux has six numbers, from 1 on, and the same with bit 11 set for user code's half (page-table
    // isolation).
    static constexpr unsigned list_count = 16;
    [[gnu::always_inline]] List& list_of(unsigned pcid) noexcept {
        return lists_[(pcid ^ pcid >> 8) % list_count];
    }

    ZeroedArray<List> lists_;
};

}  // namespace undercroft
