// SPDX-License-Identifier: Apache-2.0
// Data accesses that cross a page: the instruction works on a copy in the frame, at the same alignment. What
// it reads is collected before; what it writes is distributed after it, by the Crossing variant of its block.
// All faults of both pages come before the instruction.
//
// And instructions that cross a page themselves: a block of one instruction, which checks that its second
// page is still the one that it was translated from.
//
// Device memory, pages with code and locked instructions are left to the single-step executor.
#include "engine/translate/runtime/leaving.hpp"
#include "mmu/copy_bytes.hpp"

namespace undercroft::translate {
namespace {

enum class Collected : std::uint8_t { Yes, Faulted, Odd };

Collected collect(Vcpu& vcpu, const Site& site, std::uint64_t address, Trap& trap) {
    Translation first;
    Translation second;
    if (!vcpu.mmu->translate_range(GuestVirtual{address}, site.size, site.access, vcpu.access_mode(), first,
                                   second, trap)) {
        return Collected::Faulted;
    }
    if (first.host == nullptr || second.host == nullptr || first.holds_code || second.holds_code)
        return Collected::Odd;
    Bounce& bounce = EngineFrame::of(vcpu).bounce;
    bounce.here = static_cast<std::uint32_t>(page_size - (address & 0xfff));
    bounce.size = site.size;
    bounce.copy = bounce.bytes.data() + (address & (Bounce::alignment - 1));
    bounce.first = first.host;
    bounce.second = second.host;
    copy_bytes(bounce.copy, first.host, bounce.here);
    copy_bytes(bounce.copy + bounce.here, second.host, bounce.size - bounce.here);
    return Collected::Yes;
}

}  // namespace

Onward read_across(Vcpu& vcpu, const Site& site, std::uint64_t address) noexcept {
    Trap trap;
    Collected collected = collect(vcpu, site, address, trap);
    if (collected == Collected::Faulted) return access_faulted(vcpu, site, trap);
    if (collected == Collected::Odd) return leave_to_step(vcpu, site);
    return {site.resume, reinterpret_cast<std::uintptr_t>(EngineFrame::of(vcpu).bounce.copy)};
}

Onward tail_missed(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<TailSite&>(record);
    Trap trap;
    Translation tail;
    std::uint64_t address = (site.rip | 0xfff) + 1;
    if (!vcpu.mmu->translate(GuestVirtual{address}, Access::Execute, vcpu.access_mode(), tail, trap))
        return access_faulted(vcpu, site, trap);
    if (!translator_of(vcpu).is_page(vcpu, address, tail, site.page_id)) return leave_to_step(vcpu, site);
    return {site.resume, 0};
}

Onward begin_write_across(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept {
    auto& site = static_cast<Site&>(record);
    // Entered by way of another access: this one may lie in one page.
    if ((address & 0xfff) + site.size <= page_size) return leave_to_step(vcpu, site);
    return read_across(vcpu, site, address);
}

Onward end_write_across(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    const Bounce& bounce = EngineFrame::of(vcpu).bounce;
    copy_bytes(bounce.first, bounce.copy, bounce.here);
    copy_bytes(bounce.second, bounce.copy + bounce.here, bounce.size - bounce.here);
    return {static_cast<Site&>(record).resume, 0};
}

}  // namespace undercroft::translate
