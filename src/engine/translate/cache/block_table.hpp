// SPDX-License-Identifier: Apache-2.0
// Blocks by a key that is not zero: an open-addressed table that grows, and forgets all of them at once.
//
// find() and put() of a key that is there already are called from helpers of generated code: general
// registers only, no allocation.

#pragma once

#include "base/large_pages.hpp"
#include "engine/translate/cache/block.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace undercroft::translate {

class BlockTable {
public:
    BlockTable() : slots_(first_size) {}

    static std::uint64_t hash(std::uint64_t key) noexcept {
        key *= 0x9e3779b97f4a7c15;
        return key ^ key >> 29;
    }
    // Null: none, or null was put there.
    Block* find(std::uint64_t key) const noexcept { return slots_[place(slots_, key)].block; }
    // The key must have been added before.
    void put(std::uint64_t key, Block* block) noexcept { slots_[place(slots_, key)] = {key, block}; }
    void add(std::uint64_t key, Block* block) {
        if ((count_ + 1) * 2 > slots_.size()) grow();
        Slot& slot = slots_[place(slots_, key)];
        if (slot.key == 0) ++count_;
        slot = {key, block};
    }
    void clear() {
        std::fill(slots_.begin(), slots_.end(), Slot{});
        count_ = 0;
    }

private:
    static constexpr std::size_t first_size = std::size_t{1} << 15;

    struct Slot {
        std::uint64_t key = 0;
        Block* block = nullptr;
    };

    // Where the key is, or would be.
    static std::size_t place(const std::vector<Slot>& slots, std::uint64_t key) noexcept {
        std::size_t mask = slots.size() - 1;
        // Blocks of a granule of code share a line of the processor's cache.
        std::size_t n = (hash(key >> 6) << 2 | (key >> 4 & 3)) & mask;
        while (slots[n].key != key && slots[n].key != 0) n = (n + 1) & mask;
        return n;
    }
    void grow() {
        std::vector<Slot> larger(slots_.size() * 2);
        count_ = 0;
        for (const Slot& slot : slots_) {
            if (slot.block == nullptr) continue;
            larger[place(larger, slot.key)] = slot;
            ++count_;
        }
        slots_ = std::move(larger);
        (void)collapse_large_pages(slots_.data(), slots_.size() * sizeof(Slot));
    }

    std::vector<Slot> slots_;
    std::size_t count_ = 0;
};

}  // namespace undercroft::translate
