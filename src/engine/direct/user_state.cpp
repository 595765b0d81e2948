// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/user_state.hpp"

#include "cpu/instructions.hpp"
#include "direct/program.h"
#include "engine/step/debug.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace undercroft::direct {
namespace {

// Linux' of the host, and of most guests: __USER_CS, __USER_DS.
constexpr std::uint16_t user_code = DIRECT_USER_CODE;
constexpr std::uint16_t user_data = DIRECT_USER_DATA;

// In encoding order, as in the vCPU.
using Registers = user_regs_struct;
constexpr std::array general{&Registers::rax, &Registers::rcx, &Registers::rdx, &Registers::rbx,
                             &Registers::rsp, &Registers::rbp, &Registers::rsi, &Registers::rdi,
                             &Registers::r8,  &Registers::r9,  &Registers::r10, &Registers::r11,
                             &Registers::r12, &Registers::r13, &Registers::r14, &Registers::r15};

constexpr std::size_t xsave_header = 512;

bool is_flat(const Segment& segment) { return segment.base == 0; }

bool is_ordinary_data(const Segment& segment) {
    return segment.selector == 0 || segment.selector == user_data;
}

}  // namespace

bool is_ordinary(const Vcpu& vcpu) noexcept {
    constexpr std::uint64_t cr0 = CR0::PG | CR0::PE;
    constexpr std::uint64_t cr0_unwanted = CR0::TS | CR0::EM;
    constexpr std::uint64_t cr4 = CR4::FSGSBASE | CR4::OSXSAVE | CR4::OSFXSR | CR4::OSXMMEXCPT;
    constexpr std::uint64_t components = XCR0::X87 | XCR0::SSE | XCR0::AVX;
    constexpr std::uint64_t unusual =
        RFLAGS::TF | RFLAGS::IOPL | RFLAGS::VM | RFLAGS::AC | RFLAGS::VIF | RFLAGS::VIP | RFLAGS::ID;
    const PagingState& paging = vcpu.paging;
    return vcpu.cpl == 3 && vcpu.code_64bit() && vcpu.activity == Activity::Running &&
           (paging.cr0 & (cr0 | cr0_unwanted)) == cr0 && (paging.cr4 & (cr4 | CR4::TSD)) == cr4 &&
           vcpu.tsc_offset == 0 && !paging.software_tlb && (paging.efer & EFER::SCE) != 0 &&
           vcpu.xcr0 == components && (vcpu.system_flags & unusual) == 0 && vcpu.interrupt_flag != 0 &&
           vcpu.interrupt_shadow == 0 && !has_breakpoints(vcpu) &&
           vcpu.seg(SegmentName::CS).selector == user_code &&
           vcpu.seg(SegmentName::SS).selector == user_data && is_ordinary_data(vcpu.seg(SegmentName::DS)) &&
           is_ordinary_data(vcpu.seg(SegmentName::ES)) && is_ordinary_data(vcpu.seg(SegmentName::FS)) &&
           is_ordinary_data(vcpu.seg(SegmentName::GS)) && vcpu.seg(SegmentName::FS).base < DIRECT_USER_END &&
           vcpu.seg(SegmentName::GS).base < DIRECT_USER_END && is_flat(vcpu.seg(SegmentName::DS)) &&
           is_flat(vcpu.seg(SegmentName::ES)) && is_flat(vcpu.seg(SegmentName::SS));
}

bool load_registers(const Vcpu& vcpu, GuestProcess& process) {
    user_regs_struct to{};
    for (unsigned n = 0; n < general.size(); ++n) to.*general[n] = vcpu.gpr[n];
    to.rip = vcpu.rip;
    to.eflags = vcpu.rflags() & ~RFLAGS::RF;  // or a breakpoint at the first instruction has no effect
    to.cs = user_code;
    to.ss = user_data;
    to.ds = vcpu.seg(SegmentName::DS).selector;
    to.es = vcpu.seg(SegmentName::ES).selector;
    to.fs = vcpu.seg(SegmentName::FS).selector;
    to.gs = vcpu.seg(SegmentName::GS).selector;
    to.fs_base = vcpu.seg(SegmentName::FS).base;
    to.gs_base = vcpu.seg(SegmentName::GS).base;
    to.orig_rax = ~0ull;  // no call that would have to be made again
    return process.set_registers(to);
}

// Linux takes MXCSR with vectors only: as if they were in use.
void load_vectors(const Vcpu& vcpu, GuestProcess& process) {
    constexpr std::size_t xmm_start = 160;
    constexpr std::size_t xmm_end = 416;
    auto area = vcpu.xsave;
    std::uint64_t components = 0;
    std::memcpy(&components, area.data() + xsave_header, sizeof components);
    if ((components & XCR0::SSE) == 0) {
        std::fill(area.begin() + xmm_start, area.begin() + xmm_end, std::byte{0});
        components |= XCR0::SSE;
        std::memcpy(area.data() + xsave_header, &components, sizeof components);
    }
    process.write_vectors(area);
}

namespace {

// The guest's own descriptor decides, whatever the host's said. What its tables do not allow should not have
// been loaded; the selector is kept then, as the code will see it.
void note_selector(Vcpu& vcpu, SegmentName name, std::uint64_t selector) {
    Segment& segment = vcpu.seg(name);
    auto value = static_cast<std::uint16_t>(selector);
    if (segment.selector == value) return;
    Trap trap;
    if (!load_segment(vcpu, name, value, trap)) segment.selector = value;
}

// Far branches of user code: to 32-bit code.
void note_code_selector(Vcpu& vcpu, std::uint64_t selector) {
    auto value = static_cast<std::uint16_t>(selector);
    if (vcpu.seg(SegmentName::CS).selector == value) return;
    constexpr std::uint64_t index = 0xfff8;
    std::uint64_t raw = 0;
    Trap trap;
    if (vcpu.mmu->read(GuestVirtual{vcpu.gdtr.base + (value & index)}, &raw, sizeof raw,
                       vcpu.system_access_mode(), trap))
        vcpu.seg(SegmentName::CS) = Descriptor::expand(raw, value);
}

// Of the components that the guest has; none of the host's notes.
void store_vectors(Vcpu& vcpu, GuestProcess& process) {
    constexpr std::size_t notes = 464;
    process.read_vectors(vcpu.xsave);
    std::uint64_t components = 0;
    std::memcpy(&components, vcpu.xsave.data() + xsave_header, sizeof components);
    components &= vcpu.xcr0;
    std::memset(vcpu.xsave.data() + notes, 0, xsave_header + 64 - notes);
    std::memcpy(vcpu.xsave.data() + xsave_header, &components, sizeof components);
}

}  // namespace

void store_state(Vcpu& vcpu, GuestProcess& process, const user_regs_struct& from) {
    for (unsigned n = 0; n < general.size(); ++n) vcpu.gpr[n] = from.*general[n];
    vcpu.rip = from.rip;
    constexpr std::uint64_t of_user_code =
        RFLAGS::Arithmetic | RFLAGS::TF | RFLAGS::DF | RFLAGS::NT | RFLAGS::AC | RFLAGS::ID;
    constexpr std::uint64_t of_the_stop = RFLAGS::RF;
    vcpu.set_rflags((vcpu.rflags() & ~(of_user_code | of_the_stop)) | (from.eflags & of_user_code));
    note_selector(vcpu, SegmentName::DS, from.ds);
    note_selector(vcpu, SegmentName::ES, from.es);
    note_selector(vcpu, SegmentName::FS, from.fs);
    note_selector(vcpu, SegmentName::GS, from.gs);
    vcpu.seg(SegmentName::FS).base = from.fs_base;
    vcpu.seg(SegmentName::GS).base = from.gs_base;
    note_selector(vcpu, SegmentName::SS, from.ss);
    vcpu.interrupt_shadow = 0;
    note_code_selector(vcpu, from.cs);
    store_vectors(vcpu, process);
    if ((from.eflags & RFLAGS::ID) != 0) process.clear_id_flag();  // is_ordinary() wants none
}

}  // namespace undercroft::direct
