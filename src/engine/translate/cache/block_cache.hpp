// SPDX-License-Identifier: Apache-2.0
// Which blocks exist, and every way to find one.
//
// A page instance is a (virtual page, physical page, access mode) that code ran in; its number never comes
// back until the cache is emptied, so that "this virtual page still is that instance" is one compare. Blocks
// are keyed by (page instance, offset). Blocks of one physical page form a list, for invalidation.
//
// find*, link and code_written are called from helpers of generated code: general registers only, no
// allocation.

#pragma once

#include "engine/translate/cache/block.hpp"
#include "engine/translate/cache/block_table.hpp"
#include "engine/translate/cache/code_memory.hpp"
#include "engine/translate/runtime/frame.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/zeroed_array.hpp"

#include <cstdint>
#include <vector>

namespace undercroft::translate {

struct PageInstance {
    std::uint64_t virtual_page = 0;
    std::uint64_t pfn = 0;
    AccessMode mode = AccessMode::User;
    std::uint64_t begun = 0;  // granules in which blocks began, if they are still there or not
};

struct CacheStatistics {
    std::uint64_t blocks = 0;
    std::uint64_t guest_instructions = 0;
    std::uint64_t guest_bytes = 0;
    std::uint64_t invalidated = 0;    // blocks discarded because their bytes changed
    std::uint64_t invalidations = 0;  // writes that discarded at least one
    std::uint64_t code_writes = 0;    // writes that touched granules with code
    std::uint64_t flushes = 0;        // whole cache emptied
    std::uint64_t links = 0;
    std::uint64_t traces = 0;  // of the blocks
    std::uint64_t copies = 0;  // of the blocks: made from one for another virtual page
};

class BlockCache final : public CodePages::Listener {
public:
    BlockCache(CodeMemory& memory, CodePages& pages, std::uint64_t page_limit);

    // The number of the instance, or no_page_instance when there is none yet.
    std::uint32_t find_page(std::uint64_t virtual_page, std::uint64_t pfn, AccessMode mode) const noexcept;
    std::uint32_t add_page(std::uint64_t virtual_page, std::uint64_t pfn, AccessMode mode);
    const PageInstance& page(std::uint32_t id) const noexcept { return pages_by_id_[id]; }

    Block* find(std::uint32_t page_id, std::uint64_t rip, Variant variant) const noexcept;
    // One at this place of physical memory that can be copied for another virtual page, or null.
    Block* find_movable(GuestPhysical place, AccessMode mode) const noexcept {
        return movable_.find(place_key(place, mode));
    }
    void add(Block* block);
    // `tail` stands for a block in the page where its only instruction ends: `whole`, `pfn`, `granules` are
    // set.
    void add_tail(Block* tail);

    // Takes a block out, so that a trace can have its place.
    void replace(Block& block);

    // Patches `exit` to go to `to` directly, or to its stub.
    void link(BlockExit& exit, Block& to) noexcept;
    void unlink(BlockExit& exit) noexcept;

    // Where unlinked jump-cache slots go.
    void set_indirect_miss(HostCode miss) { indirect_miss_ = miss; }
    void attach(EngineFrame& frame);
    void remember_indirect(EngineFrame& frame, Block& block) noexcept {
        frame.jump_cache[static_cast<unsigned>(block.mode)][jump_slot(block.rip)] = block.indirect_entry;
    }

    void code_written(GuestPhysical address, std::uint64_t length) override;
    void all_code_written() override;
    // Nothing was translated of the page after all.
    void release_unused(std::uint64_t pfn) noexcept {
        if (blocks_by_pfn_[pfn] == nullptr) code_pages_.set_granules(pfn, 0);
    }
    // Forgets every block. The caller resets CodeMemory.
    void clear();

    CacheStatistics statistics;

    // Where in the page blocks begin.
    void add_starts(std::uint64_t pfn, std::vector<std::uint16_t>& offsets) const {
        for (const Block* block = blocks_by_pfn_[pfn]; block != nullptr; block = block->next_in_page)
            if (block->whole == nullptr) offsets.push_back(block->offset);
    }

private:
    static HostCode goal(const BlockExit& exit) noexcept;
    void aim(BlockExit& exit) noexcept;
    void fall_into(BlockExit& exit) noexcept;
    void discard(Block& block);
    void list(Block* block);
    static std::uint64_t key_of(std::uint32_t page_id, std::uint64_t rip, Variant variant) noexcept {
        return static_cast<std::uint64_t>(variant) << 62 | std::uint64_t{page_id} << 12 | (rip & 0xfff);
    }

    static std::uint64_t hash_of(const PageInstance& page) noexcept {
        return BlockTable::hash(page.virtual_page ^ page.pfn << 40 ^ static_cast<std::uint64_t>(page.mode));
    }
    static std::uint64_t place_key(GuestPhysical place, AccessMode mode) noexcept {
        return (static_cast<std::uint64_t>(mode) + 1) << 62 | place.value();
    }
    static std::uint64_t place_key(const Block& block) noexcept {
        return place_key(GuestPhysical{block.pfn << 12 | block.offset}, block.mode);
    }

    void grow_pages();
    void insert_page(std::uint32_t id) noexcept;

    CodeMemory& memory_;
    CodePages& code_pages_;
    HostCode indirect_miss_ = nullptr;
    std::vector<EngineFrame*> frames_;
    std::vector<PageInstance> pages_by_id_;
    std::vector<std::uint32_t> page_table_;  // open-addressed: ids; zero is free
    BlockTable blocks_;
    BlockTable movable_;  // by their place in physical memory, one for each
    ZeroedArray<Block*> blocks_by_pfn_;
    std::vector<std::uint64_t> pfns_;  // that had blocks since the last clear()
};

}  // namespace undercroft::translate
