// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/cache/block_cache.hpp"

namespace undercroft::translate {
namespace {
constexpr std::size_t first_page_slots = std::size_t{1} << 12;
}  // namespace

BlockCache::BlockCache(CodeMemory& memory, CodePages& pages, std::uint64_t page_limit)
    : memory_{memory}, code_pages_{pages}, blocks_by_pfn_{page_limit} {
    code_pages_.set_listener(this);
    clear();
    statistics = {};
}

void BlockCache::attach(EngineFrame& frame) {
    frames_.push_back(&frame);
    for (auto& cache : frame.jump_cache) cache.fill(indirect_miss_);
    for (auto& ids : frame.exec_id) ids.fill(no_page_instance);
}

void BlockCache::insert_page(std::uint32_t id) noexcept {
    const PageInstance& page = pages_by_id_[id];
    std::size_t mask = page_table_.size() - 1;
    std::size_t i = hash_of(page) & mask;
    while (page_table_[i] != no_page_instance) i = (i + 1) & mask;
    page_table_[i] = id;
}

std::uint32_t BlockCache::add_page(std::uint64_t virtual_page, std::uint64_t pfn, AccessMode mode) {
    auto id = static_cast<std::uint32_t>(pages_by_id_.size());
    pages_by_id_.push_back({.virtual_page = virtual_page, .pfn = pfn, .mode = mode});
    if (pages_by_id_.size() * 2 > page_table_.size()) {
        page_table_.assign(page_table_.size() * 2, no_page_instance);
        for (std::uint32_t n = 1; n < id; ++n) insert_page(n);
    }
    insert_page(id);
    return id;
}

void BlockCache::add(Block* block) {
    pages_by_id_[block->page_id].begun |= CodePages::mask_of(block->offset, 1);
    blocks_.add(key_of(block->page_id, block->rip, block->variant), block);
    if (block->movable) movable_.add(place_key(*block), block);
    list(block);
    ++statistics.blocks;
    if (block->trace) ++statistics.traces;
    statistics.guest_bytes += block->length;
}

void BlockCache::replace(Block& block) {
    discard(block);
    --statistics.invalidated;
}

void BlockCache::add_tail(Block* tail) { list(tail); }

void BlockCache::list(Block* block) {
    Block*& head = blocks_by_pfn_[block->pfn];
    if (head == nullptr) pfns_.push_back(block->pfn);
    block->next_in_page = head;
    head = block;
    // The first mark of a page takes its write tags away; the granules may be more than the block's bytes.
    code_pages_.mark(GuestPhysical{block->pfn << 12 | block->offset}, 1);
    code_pages_.set_granules(block->pfn, code_pages_.granules(block->pfn) | block->granules);
}

void BlockCache::all_code_written() {
    for (std::uint64_t pfn : pfns_) {
        if (blocks_by_pfn_[pfn] != nullptr) code_written(GuestPhysical{pfn << 12}, page_size);
    }
}

void BlockCache::clear() {
    for (std::uint64_t pfn : pfns_) {
        code_pages_.set_granules(pfn, 0);
        blocks_by_pfn_[pfn] = nullptr;
    }
    pfns_.clear();
    pages_by_id_.assign(1, PageInstance{});
    page_table_.assign(first_page_slots, no_page_instance);
    blocks_.clear();
    movable_.clear();
    for (EngineFrame* frame : frames_) {
        for (auto& cache : frame->jump_cache) cache.fill(indirect_miss_);
        for (auto& ids : frame->exec_id) ids.fill(no_page_instance);
    }
    ++statistics.flushes;
}

}  // namespace undercroft::translate
