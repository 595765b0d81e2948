// SPDX-License-Identifier: Apache-2.0
// FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XRSTOR: copies between guest memory and vcpu.xsave, which has the same
// layout.
//
// Only the standard form: CPUID hides XSAVEC and XSAVES. Source: Intel SDM vol. 1 sections 10.5 and 13.7
// to 13.9.
#include "cpu/instructions.hpp"
#include "engine/step/access.hpp"
#include "engine/step/table.hpp"
#include "engine/step/xsave_area.hpp"

#include <Zydis/Mnemonic.h>

#include <algorithm>
#include <array>

namespace undercroft {
namespace {

using Image = std::array<std::byte, XsaveArea::size>;

void copy(std::byte* to, const std::byte* from, std::size_t start, std::size_t end) {
    std::memcpy(to + start, from + start, end - start);
}

// The reserved bits of MXCSR are those that the mask of this processor's FXSAVE image has not.
std::uint32_t mxcsr_mask() {
    static const std::uint32_t mask = [] {
        alignas(16) std::array<std::byte, XsaveArea::legacy_size> image{};
        asm volatile("fxsave64 %0" : "=m"(image));
        std::uint32_t found;
        std::memcpy(&found, image.data() + XsaveArea::mxcsr_mask, 4);
        return found != 0 ? found : 0xffbf;
    }();
    return mask;
}

// The state as memory is to show it, whatever components are in use.
Image visible_state(const Vcpu& vcpu) {
    Image image;
    std::memcpy(image.data(), vcpu.xsave.data(), image.size());
    write_initial(image.data(), ~components_present(vcpu));
    std::uint32_t mask = mxcsr_mask();
    std::memcpy(image.data() + XsaveArea::mxcsr_mask, &mask, 4);
    // AMD's processors store the last instruction's pointers only for a pending exception.
    if (is_amd(vcpu) && !x87_exception_pending(vcpu))
        std::memset(image.data() + XsaveArea::fop, 0, XsaveArea::mxcsr - XsaveArea::fop);
    return image;
}

// Without REX.W the pointers are 32-bit offsets with selectors, which we do not keep.
void narrow_pointers(std::byte* image) {
    std::memset(image + XsaveArea::fip + 4, 0, 4);
    std::memset(image + XsaveArea::fdp + 4, 0, 4);
}

// Registers 8..15 exist in 64-bit mode only.
std::size_t xmm_end(const Context& context) { return XsaveArea::xmm + (context.is_64bit() ? 256u : 128u); }
std::size_t ymm_end(const Context& context) {
    return XsaveArea::ymm_high + (context.is_64bit() ? 256u : 128u);
}

// Of an aligned area that is not addressable as a whole: `context.trap` says so already. AMD's XSAVE and
// XRSTOR look at its first byte before they mind; FXSAVE and FXRSTOR look at the last one first.
bool fault_at_the_end(Context& context, unsigned size, Access access) {
    if (size == XsaveArea::legacy_size || !is_amd(context.vcpu) || !context.is_64bit()) return false;
    Trap whole = context.trap;
    Trap first;
    std::uint64_t linear = 0;
    bool first_faults = operand_address(context, access, linear, 1) &&
                        !context.vcpu.mmu->check(GuestVirtual{linear}, 1, access, context.mode, first);
    context.trap = first_faults && first.vector == Vector::PF ? first : whole;
    return false;
}

// The area's address: aligned, and accessible in all its length. Of a misaligned one FXSAVE and FXRSTOR look
// at the first four bytes before they mind.
bool area_address(Context& context, unsigned size, unsigned alignment, Access access, std::uint64_t& linear) {
    bool addressable = operand_address(context, access, linear, size);
    bool aligned = (linear & (alignment - 1)) == 0;
    if (!addressable && aligned) return fault_at_the_end(context, size, access);
    if (!addressable && alignment == 16 && !is_canonical(linear + 3)) return false;
    if (!aligned) {
        const Vcpu& vcpu = context.vcpu;
        bool checked = (vcpu.system_flags & RFLAGS::AC) != 0 && (vcpu.paging.cr0 & CR0::AM) != 0 &&
                       vcpu.cpl == 3 && is_amd(vcpu) && (linear & 3) != 0 && alignment == 16;
        context.trap = Trap::fault(checked ? Vector::AC : Vector::GP, 0);
        return false;
    }
    Mmu& mmu = *context.vcpu.mmu;
    if (mmu.check(GuestVirtual{linear}, size, access, context.mode, context.trap)) return true;
    // AMD's processors look at the last byte of an area: before the first in FXSAVE, after it in XSAVE.
    Trap other;
    Trap first = context.trap;
    std::uint64_t last = 0;
    bool last_faults = operand_address(context, access, last, 1, size - 1) &&
                       !mmu.check(GuestVirtual{last}, 1, access, context.mode, other) &&
                       other.vector == Vector::PF;
    context.trap = first;
    bool first_page = first.vector == Vector::PF && (first.address ^ linear) >> 12 == 0;
    bool last_first = size == XsaveArea::legacy_size;
    if (!last_faults || !is_amd(context.vcpu) || (first_page && !last_first)) return false;
    context.trap = other;
    // XRSTOR begins with the header.
    bool header_first =
        access == Access::Read && !last_first && ((linear + XsaveArea::xstate_bv) ^ last) >> 12 == 0;
    if (header_first) context.trap.address = linear + XsaveArea::xstate_bv;
    return false;
}

bool read_image(Context& context, std::uint64_t linear, std::byte* to, unsigned size) {
    return context.vcpu.mmu->read(GuestVirtual{linear}, to, size, context.mode, context.trap);
}
Outcome write_image(Context& context, std::uint64_t linear, const std::byte* from, unsigned size) {
    bool written = context.vcpu.mmu->write(GuestVirtual{linear}, from, size, context.mode, context.trap);
    return written ? Outcome::Next : Outcome::Fault;
}

bool may_use_fxsave(Context& context) {
    std::uint64_t cr0 = context.vcpu.paging.cr0;
    if ((cr0 & CR0::EM) != 0)
        context.trap = Trap::fault(Vector::UD);
    else if ((cr0 & CR0::TS) != 0)
        context.trap = Trap::fault(Vector::NM);
    return (cr0 & (CR0::EM | CR0::TS)) == 0;
}

bool may_use_xsave(Context& context) {
    const PagingState& paging = context.vcpu.paging;
    if ((paging.cr4 & CR4::OSXSAVE) == 0) {
        context.trap = Trap::fault(Vector::UD);
        return false;
    }
    if ((paging.cr0 & CR0::TS) != 0) {
        context.trap = Trap::fault(Vector::NM);
        return false;
    }
    return true;
}

bool mxcsr_is_valid(Context& context, const std::byte* image) {
    std::uint32_t mxcsr;
    std::memcpy(&mxcsr, image + XsaveArea::mxcsr, 4);
    if ((mxcsr & ~mxcsr_mask()) == 0) return true;
    context.trap = Trap::fault(Vector::GP, 0);
    return false;
}

// What the processor makes of x87 state that it is given: bits that always read the same, those that follow
// from others, addresses as wide as it keeps them.
void load_and_store(std::byte* area) {
    alignas(64) std::array<std::byte, XsaveArea::ymm_high> image{};
    constexpr std::uint64_t x87 = XCR0::X87;
    copy(image.data(), area, 0, XsaveArea::mxcsr);
    copy(image.data(), area, XsaveArea::st, XsaveArea::xmm);
    std::memcpy(image.data() + XsaveArea::xstate_bv, &x87, sizeof x87);
    asm volatile("xrstor64 %0\n\txsave64 %0\n\tfninit" : "+m"(image) : "a"(1), "d"(0));
    copy(area, image.data(), 0, XsaveArea::mxcsr);
    copy(area, image.data(), XsaveArea::st, XsaveArea::xmm);
}

void load_x87(const Context& context, const std::byte* image) {
    std::byte* area = context.vcpu.xsave.data();
    copy(area, image, 0, XsaveArea::mxcsr);
    copy(area, image, XsaveArea::st, XsaveArea::xmm);
    if (!context.instruction.rex_w) narrow_pointers(area);
    load_and_store(area);
}

Outcome fxsave(Context& context) {
    std::uint64_t linear = 0;
    if (!may_use_fxsave(context) || !area_address(context, 512, 16, Access::Write, linear))
        return Outcome::Fault;
    Image image = visible_state(context.vcpu);
    if (!context.instruction.rex_w) narrow_pointers(image.data());
    return write_image(context, linear, image.data(), static_cast<unsigned>(xmm_end(context)));
}

Outcome fxrstor(Context& context) {
    std::uint64_t linear = 0;
    if (!may_use_fxsave(context) || !area_address(context, 512, 16, Access::Read, linear))
        return Outcome::Fault;
    Image image;
    if (!read_image(context, linear, image.data(), 512) || !mxcsr_is_valid(context, image.data()))
        return Outcome::Fault;
    materialize(context.vcpu, XCR0::X87 | XCR0::SSE);
    load_x87(context, image.data());
    copy(context.vcpu.xsave.data(), image.data(), XsaveArea::mxcsr, XsaveArea::mxcsr + 4);
    copy(context.vcpu.xsave.data(), image.data(), XsaveArea::xmm, xmm_end(context));
    return Outcome::Next;
}

// EDX:EAX as far as XCR0 allows.
std::uint64_t requested_components(const Vcpu& vcpu) {
    std::uint64_t mask = (vcpu.reg(Gpr::Rdx) & 0xffffffff) << 32 | (vcpu.reg(Gpr::Rax) & 0xffffffff);
    return mask & vcpu.xcr0;
}

unsigned area_size(std::uint64_t components) {
    return static_cast<unsigned>((components & XCR0::AVX) != 0 ? XsaveArea::size : XsaveArea::ymm_high);
}

// XSAVEOPT may leave components alone that are in their initial configuration or were not modified since they
// were loaded. What a processor takes for that is its own; both engines do what XSAVE does.
Outcome xsave(Context& context) {
    std::uint64_t requested = requested_components(context.vcpu);
    unsigned size = area_size(requested);
    std::uint64_t linear = 0;
    if (!may_use_xsave(context) || !area_address(context, size, 64, Access::Write, linear))
        return Outcome::Fault;
    Image image;
    if (!read_image(context, linear, image.data(), size)) return Outcome::Fault;

    std::uint64_t in_use = components_present(context.vcpu);
    Image state = visible_state(context.vcpu);
    if (!context.instruction.rex_w) narrow_pointers(state.data());
    if ((requested & XCR0::X87) != 0) {
        copy(image.data(), state.data(), 0, XsaveArea::mxcsr);
        copy(image.data(), state.data(), XsaveArea::st, XsaveArea::xmm);
    }
    if ((requested & (XCR0::SSE | XCR0::AVX)) != 0)
        copy(image.data(), state.data(), XsaveArea::mxcsr, XsaveArea::st);
    if ((requested & XCR0::SSE) != 0) copy(image.data(), state.data(), XsaveArea::xmm, xmm_end(context));
    if ((requested & XCR0::AVX) != 0) copy(image.data(), state.data(), XsaveArea::ymm_high, ymm_end(context));
    std::uint64_t saved;
    std::memcpy(&saved, image.data() + XsaveArea::xstate_bv, 8);
    saved = (saved & ~requested) | (in_use & requested);
    std::memcpy(image.data() + XsaveArea::xstate_bv, &saved, 8);
    return write_image(context, linear, image.data(), size);
}

bool header_is_valid(Context& context, const std::byte* image) {
    std::uint64_t header[8];
    std::memcpy(header, image + XsaveArea::xstate_bv, sizeof header);
    bool rest_is_zero = std::all_of(header + 1, header + 8, [](std::uint64_t word) { return word == 0; });
    if (rest_is_zero && (header[0] & ~context.vcpu.xcr0) == 0) return true;
    context.trap = Trap::fault(Vector::GP, 0);
    return false;
}

Outcome xrstor(Context& context) {
    Vcpu& vcpu = context.vcpu;
    std::uint64_t requested = requested_components(vcpu);
    unsigned size = area_size(requested);
    std::uint64_t linear = 0;
    if (!may_use_xsave(context) || !area_address(context, size, 64, Access::Read, linear))
        return Outcome::Fault;
    Image image;
    if (!read_image(context, linear, image.data(), size) || !header_is_valid(context, image.data()))
        return Outcome::Fault;
    bool loads_mxcsr = (requested & (XCR0::SSE | XCR0::AVX)) != 0;
    if (loads_mxcsr && !mxcsr_is_valid(context, image.data())) return Outcome::Fault;

    std::byte* area = vcpu.xsave.data();
    std::uint64_t given;
    std::memcpy(&given, image.data() + XsaveArea::xstate_bv, 8);
    given &= requested;
    materialize(vcpu, requested);
    write_initial(area, requested & ~given);
    if ((given & XCR0::X87) != 0) load_x87(context, image.data());
    if (loads_mxcsr) copy(area, image.data(), XsaveArea::mxcsr, XsaveArea::mxcsr + 4);
    if ((given & XCR0::SSE) != 0) copy(area, image.data(), XsaveArea::xmm, xmm_end(context));
    if ((given & XCR0::AVX) != 0) copy(area, image.data(), XsaveArea::ymm_high, ymm_end(context));
    std::uint64_t present = (components_present(vcpu) & ~requested) | given;
    std::memcpy(area + XsaveArea::xstate_bv, &present, 8);
    return Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_FXSAVE, fxsave},   {ZYDIS_MNEMONIC_FXSAVE64, fxsave},
    {ZYDIS_MNEMONIC_FXRSTOR, fxrstor}, {ZYDIS_MNEMONIC_FXRSTOR64, fxrstor},
    {ZYDIS_MNEMONIC_XSAVE, xsave},     {ZYDIS_MNEMONIC_XSAVE64, xsave},
    {ZYDIS_MNEMONIC_XSAVEOPT, xsave},  {ZYDIS_MNEMONIC_XSAVEOPT64, xsave},
    {ZYDIS_MNEMONIC_XRSTOR, xrstor},   {ZYDIS_MNEMONIC_XRSTOR64, xrstor},
};

}  // namespace

TableEntries vector_state_entries() { return entries; }

}  // namespace undercroft
