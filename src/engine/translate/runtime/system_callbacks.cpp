// SPDX-License-Identifier: Apache-2.0
// System instructions that translated code meets often enough to spare them the single-step executor.
#include "cpu/environment.hpp"
#include "cpu/instructions.hpp"
#include "engine/translate/runtime/leaving.hpp"

namespace undercroft::translate {
namespace {

Onward fault(Vcpu& vcpu, const Site& site, const Trap& trap) {
    uncount(vcpu, site.remaining - 1);
    deliver(vcpu, trap);
    return go_on(vcpu);
}

// Devices may have written to this code, or want attention; a flush may have taken its page away.
Onward look_again_behind(Vcpu& vcpu, const Site& site) {
    uncount(vcpu, site.remaining - 1);
    vcpu.rip = site.rip + site.length;
    return go_on(vcpu);
}

}  // namespace

Onward identify(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    if (!cpuid(vcpu, trap)) return fault(vcpu, site, trap);
    // It serialises: what other vCPUs have written to code counts from here on.
    if (vcpu.attention.load(std::memory_order_relaxed) != 0) return look_again_behind(vcpu, site);
    return {site.resume, 0};
}

Onward pause_instruction(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    __builtin_ia32_pause();  // takes its time, which loops that count them rely on
    std::uint32_t& pauses = EngineFrame::of(vcpu).pauses;
    if (++pauses < translator_of(vcpu).options().pause_limit) return {site.resume, 0};
    pauses = 0;
    vcpu.rip = site.rip + site.length;
    return leave(vcpu, Leave::Pause);
}

Onward load_data_segment(Vcpu& vcpu, Callback& record, std::uint64_t selector) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    auto name = static_cast<SegmentName>(site.detail);
    if (!load_segment(vcpu, name, static_cast<std::uint16_t>(selector), trap)) return fault(vcpu, site, trap);
    return {site.resume, 0};
}

Onward invalidate_page(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    if (!invlpg(vcpu, address, trap)) return fault(vcpu, site, trap);
    return look_again_behind(vcpu, site);
}

Onward invalidate_address_space(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    InvpcidDescriptor descriptor;
    Trap trap;
    Translation translation;
    bool plain =
        (address & 0xfff) <= page_size - sizeof descriptor &&
        vcpu.mmu->translate(GuestVirtual{address}, Access::Read, vcpu.access_mode(), translation, trap) &&
        translation.host != nullptr;
    if (!plain) return leave_to_step(vcpu, site);
    __builtin_memcpy(&descriptor, translation.host, sizeof descriptor);
    if (!invpcid(vcpu, vcpu.gpr[site.detail], descriptor, trap)) return fault(vcpu, site, trap);
    return look_again_behind(vcpu, site);
}

Onward call_monitor(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    if (!hypercall(vcpu, site.rip + site.length, trap)) return fault(vcpu, site, trap);
    uncount(vcpu, site.remaining - 1);
    return go_on(vcpu);
}

Onward read_port(Vcpu& vcpu, Callback& record, std::uint64_t port) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    auto number = static_cast<std::uint16_t>(port);
    if (!may_use_port(vcpu, number, site.size, trap)) return fault(vcpu, site, trap);
    std::uint64_t value = vcpu.environment->read_port(number, site.size);
    std::uint64_t& rax_home = vcpu.reg(Gpr::Rax);
    if (site.size == 4)
        rax_home = value & 0xffffffff;
    else
        __builtin_memcpy(&rax_home, &value, site.size == 2 ? 2 : 1);
    if (vcpu.attention.load(std::memory_order_relaxed) != 0) return look_again_behind(vcpu, site);
    return {site.resume, 0};
}

Onward write_port(Vcpu& vcpu, Callback& record, std::uint64_t port) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    auto number = static_cast<std::uint16_t>(port);
    if (!may_use_port(vcpu, number, site.size, trap)) return fault(vcpu, site, trap);
    std::uint64_t value = vcpu.reg(Gpr::Rax) & (0xffffffffu >> (32 - 8 * site.size));
    vcpu.environment->write_port(number, site.size, value);
    return look_again_behind(vcpu, site);
}

Onward read_model_specific(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    if (!rdmsr(vcpu, trap)) return fault(vcpu, site, trap);
    return {site.resume, 0};
}

Onward write_model_specific(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    vcpu.rip = site.rip;
    Trap trap;
    if (!wrmsr(vcpu, trap)) return fault(vcpu, site, trap);
    return look_again_behind(vcpu, site);
}

namespace {

constexpr unsigned area_size = Vcpu::xsave_size;
constexpr unsigned header_offset = 512;
constexpr unsigned header_words = 8;  // XSTATE_BV, XCOMP_BV and six that must be zero
constexpr unsigned mxcsr_offset = 24;
constexpr std::uint32_t mxcsr_defined = 0xffff;
constexpr unsigned area_alignment = 64;

// The host address of the area, if it is ordinary: aligned and in one page of plain memory.
std::byte* ordinary_area(Vcpu& vcpu, const Site& site, std::uint64_t address) {
    std::uint64_t wanted = (vcpu.reg(Gpr::Rdx) & 0xffffffff) << 32 | (vcpu.reg(Gpr::Rax) & 0xffffffff);
    EngineFrame::of(vcpu).component_mask = static_cast<std::uint32_t>(wanted & vcpu.xcr0);
    if (address % area_alignment != 0 || (address & 0xfff) + area_size > page_size) return nullptr;
    Translation translation;
    Trap trap;
    if (!vcpu.mmu->translate(GuestVirtual{address}, site.access, vcpu.access_mode(), translation, trap))
        return nullptr;
    return translation.holds_code ? nullptr : translation.host;
}

// The area would show where on the host it was raised.
bool x87_exception_pending() {
    constexpr unsigned summary = 0x80;
    unsigned status = 0;
    asm volatile("fnstsw %%ax" : "=a"(status));
    return (status & summary) != 0;
}

}  // namespace

Onward save_vectors(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept {
    auto& site = static_cast<Site&>(record);
    std::byte* area = ordinary_area(vcpu, site, address);
    if (area == nullptr || x87_exception_pending()) return leave_to_step(vcpu, site);
    return {site.resume, reinterpret_cast<std::uintptr_t>(area)};
}

// Everything that XRSTOR faults on is left to the single-step executor, and so is what the host's processor
// would take but ours has not: components outside the guest's XCR0, the compacted form. Checked and loaded is
// a copy: the guest's memory may change in between.
Onward restore_vectors(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept {
    auto& site = static_cast<Site&>(record);
    const std::byte* from = ordinary_area(vcpu, site, address);
    if (from == nullptr) return leave_to_step(vcpu, site);
    std::byte* area = EngineFrame::of(vcpu).vector_area.data();
    std::byte* to = area;
    std::uint64_t count = area_size / 8;
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    std::uint64_t odd = 0;
    for (unsigned n = 0; n < header_words; ++n) {
        std::uint64_t word;
        __builtin_memcpy(&word, area + header_offset + n * sizeof word, sizeof word);
        odd |= n == 0 ? word & ~vcpu.xcr0 : word;
    }
    std::uint32_t mxcsr;
    __builtin_memcpy(&mxcsr, area + mxcsr_offset, sizeof mxcsr);
    if (odd != 0 || (mxcsr & ~mxcsr_defined) != 0) return leave_to_step(vcpu, site);
    return {site.resume, reinterpret_cast<std::uintptr_t>(area)};
}

}  // namespace undercroft::translate
