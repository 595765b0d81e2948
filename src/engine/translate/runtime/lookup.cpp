// SPDX-License-Identifier: Apache-2.0
// The translator's part that helpers of generated code use: general registers only.
#include "engine/translate/runtime/translator.hpp"

namespace undercroft::translate {

void Translator::remember_exec(EngineFrame& frame, AccessMode mode, std::uint64_t rip, std::uint32_t id,
                               bool global) noexcept {
    frame.exec_id[static_cast<unsigned>(mode)][exec_slot(rip)] = id;
    SlotSet& slots = non_global_[static_cast<unsigned>(mode)];
    if (global)
        slots.erase(exec_slot(rip));
    else
        slots.insert(exec_slot(rip));
}

std::uint32_t Translator::known_page(const EngineFrame& frame, AccessMode mode,
                                     std::uint64_t rip) const noexcept {
    std::uint32_t id = frame.exec_id[static_cast<unsigned>(mode)][exec_slot(rip)];
    return id != no_page_instance && cache_.page(id).virtual_page == rip >> 12 ? id : no_page_instance;
}

Block* Translator::find(Vcpu& vcpu, Variant variant) noexcept {
    EngineFrame& frame = EngineFrame::of(vcpu);
    AccessMode mode = vcpu.access_mode();
    std::uint64_t rip = vcpu.rip;
    std::uint32_t id = known_page(frame, mode, rip);
    if (id == no_page_instance) {
        Translation where;
        Trap trap;
        if (!vcpu.mmu->translate(GuestVirtual{rip}, Access::Execute, mode, where, trap)) return nullptr;
        if (where.host == nullptr) return nullptr;
        id = cache_.find_page(rip >> 12, where.physical.page(), mode);
        if (id == no_page_instance) return nullptr;
        remember_exec(frame, mode, rip, id, where.global);
    }
    return cache_.find(id, rip, variant);
}

bool Translator::is_page(Vcpu& vcpu, std::uint64_t rip, const Translation& where, std::uint32_t id) noexcept {
    AccessMode mode = vcpu.access_mode();
    if (cache_.find_page(rip >> 12, where.physical.page(), mode) != id) return false;
    remember_exec(EngineFrame::of(vcpu), mode, rip, id, where.global);
    return true;
}

void Translator::link(BlockExit& exit, Block& to) noexcept {
    if (!options_.chaining || !exit.from->valid || exit.mode != to.mode) return;
    CHECK(exit.live != 0 || to.live_in == 0, "an exit dropped flags that its target reads");
    const PageInstance& from = cache_.page(exit.from->page_id);
    bool here = from.virtual_page == to.rip >> 12 && from.pfn == to.pfn;
    if (exit.guard == nullptr && !here) return;
    cache_.link(exit, to);
}

void Translator::remember_indirect(Vcpu& vcpu, Block& block) noexcept {
    if (block.indirect_entry == nullptr)
        block.indirect_entry = make_indirect_entry(*memory_, thunks_, block, options_.counted);
    if (block.indirect_entry != nullptr) cache_.remember_indirect(EngineFrame::of(vcpu), block);
}

Onward Translator::go_on_at_rip(Vcpu& vcpu) noexcept {
    EngineFrame& frame = EngineFrame::of(vcpu);
    frame.leave_exit = nullptr;
    frame.leave = Leave::Attention;
    if (vcpu.attention.load(std::memory_order_relaxed) != 0) return {thunks_.leave, 0};
    frame.leave = Leave::Lookup;
    if (frame.limit_reached() || !translatable(vcpu)) return {thunks_.leave, 0};
    Block* block = find(vcpu);
    frame.leave = Leave::Translate;
    if (block == nullptr) return {thunks_.leave, 0};
    forget_resume_flag(vcpu);
    return {block->frame_entry, 0};
}

// Slots of pages that are not global, before they are cleared.
template <class Action>
void Translator::drain_non_global(Action action) noexcept {
    EngineFrame& frame = EngineFrame::of(vcpu_);
    for (unsigned mode = 0; mode < access_mode_count; mode++) {
        non_global_[mode].drain([&](unsigned slot) {
            std::uint32_t& id = frame.exec_id[mode][slot];
            if (id == no_page_instance) return;
            action(id, slot, mode);
            id = no_page_instance;
        });
    }
}

// What says that exec_id slots are in use, and has been kept of other address spaces.
void Translator::forget_exec() noexcept {
    for (SlotSet& slots : non_global_) slots.drain([](unsigned) {});
    kept_.forget_all();
}

void Translator::flushed_all() noexcept {
    for (auto& ids : EngineFrame::of(vcpu_).exec_id) {
        for (std::uint32_t& id : ids) id = no_page_instance;
    }
    forget_exec();
}

void Translator::flushed_non_global() noexcept {
    drain_non_global([](std::uint32_t, unsigned, unsigned) {});
    kept_.forget_all();
}

void Translator::switched_address_space(unsigned from, unsigned to, OldEntries of_to) noexcept {
    auto& leaving = kept_.begin(from);
    drain_non_global([&](std::uint32_t id, unsigned slot, unsigned mode) {
        leaving.add({id, static_cast<std::uint16_t>(slot), static_cast<std::uint16_t>(mode)});
    });
    if (of_to == OldEntries::Drop) return kept_.forget(to);
    EngineFrame& frame = EngineFrame::of(vcpu_);
    kept_.take(to, [&](const KeptExec& kept) {
        std::uint32_t& id = frame.exec_id[kept.mode][kept.slot];
        if (id != no_page_instance) return;  // a global page has taken its place
        id = kept.id;
        non_global_[kept.mode].insert(kept.slot);
    });
}

void Translator::flushed_address_space(unsigned pcid) noexcept { kept_.forget(pcid); }

void Translator::flushed_range(GuestVirtual start, std::uint64_t length) noexcept {
    if (length >= EngineFrame::exec_slots * page_size) {
        flushed_all();
        return;
    }
    for (auto& ids : EngineFrame::of(vcpu_).exec_id) {
        for (std::uint64_t done = 0; done < length; done += page_size)
            ids[exec_slot(start.value() + done)] = no_page_instance;
    }
    if (length == page_size) return;
    kept_.for_each([&](KeptExec& kept) {
        if ((cache_.page(kept.id).virtual_page << 12) - start.value() < length) kept.id = no_page_instance;
    });
}

}  // namespace undercroft::translate
