// SPDX-License-Identifier: Apache-2.0
// Blocks translated before control comes to them.
//
// To leave translated code for one block costs as much as to make one of a few instructions. So what a new
// block goes on to for sure, by a jump or a call, is made with it; what a copy goes on to, if the block that
// it is a copy of went one way only; and the place that a call returns to, if what it calls is there.
#include "engine/translate/runtime/translator.hpp"

#include <utility>

namespace undercroft::translate {
namespace {
constexpr unsigned ahead_limit = 8;  // blocks
}  // namespace

// Null: there is none, and to make one takes more than translating: code that was not executed before, which
// may be missing; a single step; other vCPUs.
Block* Translator::block_ahead(Vcpu& vcpu, std::uint64_t rip, bool indirectly) {
    EngineFrame& frame = EngineFrame::of(vcpu);
    AccessMode mode = vcpu.access_mode();
    std::uint32_t id = known_page(frame, mode, rip);
    if (id == no_page_instance) return nullptr;
    if (Block* known = cache_.find(id, rip, Variant::Merged)) return known;
    Translation where;
    Trap trap;
    if (!has_room(options_.block_limit) || !vcpu.mmu->code_pages().is_claimed(cache_.page(id).pfn) ||
        !vcpu.mmu->translate(GuestVirtual{rip}, Access::Execute, mode, where, trap) ||
        where.host == nullptr || where.physical.page() != cache_.page(id).pfn)
        return nullptr;
    frame.reached_indirectly = indirectly;
    std::uint64_t before = std::exchange(vcpu.rip, rip);
    bool step_instead = false;
    Block* made = translate_at(vcpu, where, step_instead, Variant::Merged);
    vcpu.rip = before;
    frame.reached_indirectly = false;
    return made;
}

void Translator::translate_ahead(Vcpu& vcpu, const Block& made) {
    const Block* last = &made;
    for (unsigned n = 0; n < ahead_limit; ++n) {
        BlockExit* way = std::exchange(way_on_, nullptr);
        if (way == nullptr || way->mode != last->mode) return;
        std::uint64_t before = cache_.statistics.blocks;
        Block* next = block_ahead(vcpu, way->target, false);
        if (next == nullptr) return;
        link(*way, *next);
        // What is called has been before, so the next that is new is most likely where it returns to.
        if (cache_.statistics.blocks == before && last->calls)
            next = block_ahead(vcpu, last->rip + last->length, true);
        if (next == nullptr || cache_.statistics.blocks == before) return;
        last = next;
    }
}

}  // namespace undercroft::translate
