// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/runtime/callbacks.hpp"

#include "cpu/instructions.hpp"
#include "engine/translate/runtime/leaving.hpp"

namespace undercroft::translate {
namespace {

// An interrupt that waited for IF has its window now.
void ask_for_pending_interrupt(Vcpu& vcpu) {
    if (vcpu.interrupt_flag != 0 && (vcpu.pending_interrupt | vcpu.pending_nmi) != 0)
        vcpu.request(Attention::Interrupt);
}

Onward after_instruction(Vcpu& vcpu, bool completed, const Trap& trap) {
    if (!completed) deliver(vcpu, trap);
    ask_for_pending_interrupt(vcpu);
    return go_on(vcpu);
}

Onward after_return(Vcpu& vcpu, bool completed, const Trap& trap) {
    EngineFrame& frame = EngineFrame::of(vcpu);
    bool leaves =
        frame.direct_space == vcpu.paging.cr3 || frame.direct_space == EngineFrame::every_address_space;
    if (!completed || vcpu.cpl != 3 || !leaves) [[likely]]
        return after_instruction(vcpu, completed, trap);
    ask_for_pending_interrupt(vcpu);
    frame.returned_to_user = true;
    return leave(vcpu, Leave::Lookup);
}

}  // namespace

Onward access_missed(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept {
    auto& site = static_cast<Site&>(record);
    if ((address & 0xfff) + site.size > page_size) {
        if (site.detail == 0) return leave_to_step(vcpu, site);
        return site.access == Access::Read ? read_across(vcpu, site, address)
                                           : go_on_in_variant(vcpu, site, Variant::Crossing);
    }
    Translation translation;
    Trap trap;
    vcpu.rip = site.rip;  // a trace says which instruction it was
    if (!vcpu.mmu->translate(GuestVirtual{address}, site.access, vcpu.access_mode(), translation, trap)) {
        // Only the single-step executor knows whether an operand of 16 or 32 bytes has to be aligned: #GP
        // comes before #PF then.
        bool misaligned = site.size >= 16 && (address & (site.size - 1u)) != 0;
        return misaligned ? leave_to_step(vcpu, site) : access_faulted(vcpu, site, trap);
    }
    bool code_write = site.access == Access::Write && translation.holds_code;
    if (translation.host == nullptr || code_write) return leave_to_step(vcpu, site);
    return {site.resume, reinterpret_cast<std::uintptr_t>(translation.host)};
}

Onward range_missed(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept {
    auto& site = static_cast<Site&>(record);
    Translation translation;
    Trap trap;
    bool reads_first = site.detail != 0;
    vcpu.rip = site.rip;  // a trace says which instruction it was
    Access access = reads_first ? Access::Read : site.access;
    bool plain = (address & 0xfff) + site.size <= page_size &&
                 vcpu.mmu->translate(GuestVirtual{address}, access, vcpu.access_mode(), translation, trap) &&
                 translation.host != nullptr && !(access == Access::Write && translation.holds_code);
    if (plain && access == Access::Read) {
        // The address is kept for several instructions: none of a page that has no frame of its own. And a
        // write tag stands for a page that is writable, dirty already, and without code.
        const TlbEntry& entry = vcpu.tlb.entry(vcpu.access_mode(), address);
        plain = (site.access == Access::Write ? entry.write_tag : entry.read_tag) == (address & ~0xfffull);
    }
    if (plain) return {site.resume, reinterpret_cast<std::uintptr_t>(translation.host)};
    return go_on_in_variant(vcpu, site, site.in_trace ? Variant::UnmergedTrace : Variant::Unmerged);
}

Onward exit_taken(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& exit = static_cast<BlockExit&>(record);
    vcpu.rip = exit.target;
    if (exit.rounds_left == 0) exit.rounds_left = 1;  // the next comes by again, if this makes no trace
    EngineFrame& frame = EngineFrame::of(vcpu);
    if (frame.limit_reached()) {
        frame.live_flags = exit.live;
        return leave(vcpu, Leave::Lookup);
    }
    Translator& translator = translator_of(vcpu);
    Block* block = translator.find(vcpu);
    if (block == nullptr) {
        frame.live_flags = exit.live;
        return leave(vcpu, Leave::Translate, &exit);
    }
    if (exit.is_hot() && !block->trace) {
        frame.live_flags = exit.live;
        return leave(vcpu, Leave::Translate, &exit);
    }
    translator.link(exit, *block);
    return {block->frame_entry, 0};
}

// Rounds in a row are one wait: whatever else the loop does forgets `spin_exit` on its way out.
Onward round_closed(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& exit = static_cast<BlockExit&>(record);
    vcpu.rip = exit.target;
    EngineFrame& frame = EngineFrame::of(vcpu);
    const Options& options = translator_of(vcpu).options();
    std::uint64_t now = __builtin_ia32_rdtsc();
    if (frame.spin_exit != &exit) {
        frame.spin_exit = &exit;
        frame.spin_deadline = now + options.spin_ticks;
    } else if (frame.spin_deadline == 0) {
        frame.spin_deadline = now + options.spin_again_ticks;
    }
    if (now < frame.spin_deadline) return go_on(vcpu);
    return leave(vcpu, Leave::Spin);
}

Onward indirect_missed(Vcpu& vcpu, Callback&, std::uint64_t target) noexcept {
    Translator& translator = translator_of(vcpu);
    if (!is_canonical(target)) {
        const Site& site = translator.last_branch(EngineFrame::of(vcpu).branch_record);
        vcpu.reg(Gpr::Rsp) -= static_cast<std::uint64_t>(std::int64_t{site.stack_moved});
        return leave_to_step(vcpu, site);
    }
    vcpu.rip = target;
    if (EngineFrame::of(vcpu).limit_reached()) return leave(vcpu, Leave::Lookup);
    Block* block = translator.find(vcpu);
    if (block == nullptr) {
        EngineFrame::of(vcpu).reached_indirectly = true;
        return leave(vcpu, Leave::Translate);
    }
    translator.remember_indirect(vcpu, *block);
    if (vcpu.attention.load(std::memory_order_relaxed) != 0) return leave(vcpu, Leave::Attention);
    return {block->frame_entry, 0};
}

Onward attention_wanted(Vcpu& vcpu, Callback&, std::uint64_t rip) noexcept {
    vcpu.rip = rip;
    return leave(vcpu, Leave::Attention);
}

Onward step_instruction(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    return leave_to_step(vcpu, static_cast<Site&>(record));
}

Onward interrupt_window(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    vcpu.request(Attention::Interrupt);
    return {static_cast<Site&>(record).resume, 0};
}

Onward push_flags(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    std::uint64_t value = 0;
    std::uint64_t to = vcpu.reg(Gpr::Rsp) - 8;
    Trap trap;
    Translation translation;
    bool plain =
        pushf_value(vcpu, OperandSize::Qword, value, trap) && (to & 0xfff) <= page_size - 8 &&
        vcpu.mmu->translate(GuestVirtual{to}, Access::Write, vcpu.access_mode(), translation, trap) &&
        translation.host != nullptr && !translation.holds_code;
    if (!plain) return leave_to_step(vcpu, site);
    __builtin_memcpy(translation.host, &value, sizeof value);
    vcpu.reg(Gpr::Rsp) = to;
    return {site.resume, 0};
}

// The page of this code may be mapped otherwise afterwards: go on by the address.
Onward write_cr3(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    if (!write_control(vcpu, 3, vcpu.gpr[site.detail], trap)) {
        deliver(vcpu, trap);
    } else {
        vcpu.rip = site.rip + site.length;
    }
    return go_on(vcpu);
}

namespace {

Onward write_base(Vcpu& vcpu, Site& site, SegmentName name) {
    std::uint64_t base = vcpu.gpr[site.detail];
    if (site.size == 4) base &= 0xffffffff;
    Trap trap;
    vcpu.rip = site.rip;
    if (!write_segment_base(vcpu, name, base, trap)) return leave_to_step(vcpu, site);
    return {site.resume, 0};
}

}  // namespace

Onward write_fs_base(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    return write_base(vcpu, static_cast<Site&>(record), SegmentName::FS);
}

Onward write_gs_base(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    return write_base(vcpu, static_cast<Site&>(record), SegmentName::GS);
}

Onward pop_flags(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    std::uint64_t from = vcpu.reg(Gpr::Rsp);
    Trap trap;
    Translation translation;
    bool plain =
        site.size == 8 && (from & 0xfff) <= page_size - 8 &&
        vcpu.mmu->translate(GuestVirtual{from}, Access::Read, vcpu.access_mode(), translation, trap) &&
        translation.host != nullptr;
    if (!plain) return leave_to_step(vcpu, site);
    std::uint64_t value = 0;
    __builtin_memcpy(&value, translation.host, sizeof value);
    vcpu.rip = site.rip;
    if (!popf(vcpu, value, OperandSize::Qword, trap)) return leave_to_step(vcpu, site);
    vcpu.reg(Gpr::Rsp) = from + 8;
    vcpu.rip = site.rip + site.length;
    // TF set by this instruction traps after the next one; translatable() sends that one to the single-step
    // executor.
    ask_for_pending_interrupt(vcpu);
    return go_on(vcpu);
}

Onward system_call(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    bool completed = syscall(vcpu, site.rip + site.length, trap);
    return after_instruction(vcpu, completed, trap);
}

Onward system_return(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    bool completed = sysret(vcpu, site.size == 8 ? OperandSize::Qword : OperandSize::Dword, trap);
    return after_return(vcpu, completed, trap);
}

Onward interrupt_return(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    bool completed = iret(vcpu, OperandSize::Qword, trap);
    return after_return(vcpu, completed, trap);
}

}  // namespace undercroft::translate
