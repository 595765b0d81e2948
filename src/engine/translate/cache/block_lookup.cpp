// SPDX-License-Identifier: Apache-2.0
// What helpers of generated code ask of the block cache: general registers only.
#include "engine/translate/cache/block_cache.hpp"

#include <utility>

namespace undercroft::translate {

std::uint32_t BlockCache::find_page(std::uint64_t virtual_page, std::uint64_t pfn,
                                    AccessMode mode) const noexcept {
    std::size_t mask = page_table_.size() - 1;
    for (std::size_t i = hash_of({.virtual_page = virtual_page, .pfn = pfn, .mode = mode}) & mask;;
         i = (i + 1) & mask) {
        std::uint32_t id = page_table_[i];
        if (id == no_page_instance) return no_page_instance;
        const PageInstance& page = pages_by_id_[id];
        if (page.virtual_page == virtual_page && page.pfn == pfn && page.mode == mode) return id;
    }
}

Block* BlockCache::find(std::uint32_t page_id, std::uint64_t rip, Variant variant) const noexcept {
    // Most blocks that are wanted for the first time are known here to be none; the table lies far away.
    if ((pages_by_id_[page_id].begun & CodePages::mask_of(rip & 0xfff, 1)) == 0) return nullptr;
    return blocks_.find(key_of(page_id, rip, variant));
}

HostCode BlockCache::goal(const BlockExit& exit) noexcept {
    if (exit.to == nullptr) return exit.stub;
    return exit.flags_in_host ? exit.to->host_entry : exit.to->frame_entry;
}

void BlockCache::aim(BlockExit& exit) noexcept {
    if (exit.conditional)
        memory_.patch_jump(exit.jump, goal(exit));
    else
        memory_.patch_jmp(exit.jump, goal(exit));
    if (!exit.counts) return;
    if (exit.to != nullptr && (exit.to->trace || exit.rounds == 0)) {
        memory_.write(exit.count(), std::byte{0xe9});
        memory_.patch_jump(exit.count() + 1, goal(exit));
    } else {
        memory_.write(exit.count(), std::uint16_t{0x0dff});  // dec dword [rip + rounds_left]
        memory_.patch_jump(exit.count() + 2, reinterpret_cast<HostCode>(&exit.rounds_left));
    }
}

// What is executed first is translated right behind what led to it. If that is where the conditional jump
// goes, the two change places, so that the way on is no jump at all.
void BlockCache::fall_into(BlockExit& exit) noexcept {
    BlockExit* other = exit.sibling();
    if (!exit.conditional || other == nullptr) return;
    HostCode behind = other->jump + 4;
    if (goal(exit) != behind || goal(*other) == behind) return;
    memory_.invert_condition(exit.jump);
    std::swap(exit.jump, other->jump);
    std::swap(exit.conditional, other->conditional);
    aim(*other);
}

void BlockCache::link(BlockExit& exit, Block& to) noexcept {
    if (exit.to == &to) return aim(exit);
    if (exit.to != nullptr) {  // its page was remapped: follow the new one
        BlockExit** place = &exit.to->incoming;
        while (*place != &exit) place = &(*place)->next_incoming;
        *place = exit.next_incoming;
    }
    exit.to = &to;
    exit.next_incoming = to.incoming;
    to.incoming = &exit;
    fall_into(exit);
    aim(exit);
    if (exit.guard != nullptr) memory_.write(exit.guard, to.page_id);
    ++statistics.links;
}

void BlockCache::unlink(BlockExit& exit) noexcept {
    exit.to = nullptr;
    exit.next_incoming = nullptr;
    exit.rounds_left = exit.rounds;
    aim(exit);
    if (exit.guard != nullptr) memory_.write(exit.guard, no_page_instance);
}

void BlockCache::discard(Block& block) {
    if (block.whole != nullptr) return discard(*block.whole);
    if (!block.valid) return;  // by a write to its other page
    block.valid = false;
    for (BlockExit* exit = block.incoming; exit != nullptr;) {
        BlockExit* next = exit->next_incoming;
        unlink(*exit);
        exit = next;
    }
    block.incoming = nullptr;
    blocks_.put(key_of(block.page_id, block.rip, block.variant), nullptr);
    if (block.movable && movable_.find(place_key(block)) == &block) movable_.put(place_key(block), nullptr);
    for (EngineFrame* frame : frames_) {
        HostCode& slot = frame->jump_cache[static_cast<unsigned>(block.mode)][jump_slot(block.rip)];
        if (block.indirect_entry != nullptr && slot == block.indirect_entry) slot = indirect_miss_;
    }
    ++statistics.invalidated;
}

void BlockCache::code_written(GuestPhysical address, std::uint64_t length) {
    ++statistics.code_writes;
    std::uint64_t written = CodePages::mask_of(address.page_offset(), length);
    std::uint64_t left = 0;
    std::uint64_t before = statistics.invalidated;
    Block** link_to = &blocks_by_pfn_[address.page()];
    while (Block* block = *link_to) {
        if ((block->granules & written) != 0) {
            *link_to = block->next_in_page;
            discard(*block);
        } else {
            left |= block->granules;
            link_to = &block->next_in_page;
        }
    }
    code_pages_.set_granules(address.page(), left);
    if (statistics.invalidated != before) ++statistics.invalidations;
}

}  // namespace undercroft::translate
