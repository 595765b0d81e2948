// SPDX-License-Identifier: Apache-2.0
// How a callback ends when it does not simply go on behind its site: general registers only.

#pragma once

#include "cpu/deliver.hpp"
#include "engine/translate/runtime/translator.hpp"

namespace undercroft::translate {

inline Translator& translator_of(Vcpu& vcpu) noexcept {
    return *static_cast<Translator*>(EngineFrame::of(vcpu).engine);
}

inline Onward leave(Vcpu& vcpu, Leave reason, BlockExit* exit = nullptr) noexcept {
    EngineFrame& frame = EngineFrame::of(vcpu);
    frame.leave = reason;
    frame.leave_exit = exit;
    return {translator_of(vcpu).thunks().leave, 0};
}

// A block counts all of its instructions when it is entered: these it did not come to.
inline void uncount(Vcpu& vcpu, std::int64_t instructions) noexcept {
    EngineFrame::of(vcpu).instructions -= instructions;
}

inline Onward leave_to_step(Vcpu& vcpu, const Site& site) noexcept {
    uncount(vcpu, site.remaining);
    vcpu.rip = site.rip;
    vcpu.interrupt_shadow = site.in_shadow;
    return leave(vcpu, Leave::Step);
}

// Goes on at vcpu.rip, wherever an instruction or a delivered trap has put it.
inline Onward go_on(Vcpu& vcpu) noexcept { return translator_of(vcpu).go_on_at_rip(vcpu); }

// An access of the site's instruction faulted, before the instruction had any effect. #GP or #SS of a
// non-canonical address, #MF before #PF: the single-step executor knows which.
inline Onward access_faulted(Vcpu& vcpu, const Site& site, const Trap& trap) noexcept {
    if (trap.vector != Vector::PF || site.step_faults) return leave_to_step(vcpu, site);
    uncount(vcpu, site.remaining - 1);
    vcpu.rip = site.rip;
    deliver(vcpu, trap);
    return go_on(vcpu);
}

// Goes on in the variant of the block that begins at the site's instruction.
inline Onward go_on_in_variant(Vcpu& vcpu, const Site& site, Variant variant) noexcept {
    // The shadow of STI ends with its block: the single-step executor keeps it.
    if (site.in_shadow) return leave_to_step(vcpu, site);
    uncount(vcpu, site.remaining);
    vcpu.rip = site.rip;
    Block* block = translator_of(vcpu).find(vcpu, variant);
    if (block != nullptr) return {block->frame_entry, 0};
    EngineFrame::of(vcpu).leave_variant = variant;
    return leave(vcpu, Leave::Translate);
}

}  // namespace undercroft::translate
