// SPDX-License-Identifier: Apache-2.0
#include "start_state.hpp"

#include <cstring>

namespace undercroft {
namespace {

// Flat segments, as loading the descriptors of boot's GDT would give them.
constexpr std::uint16_t code_attributes = 0xa09b;  // G L P, code, execute and read, accessed
constexpr std::uint16_t data_attributes = 0xc093;  // G D P, data, read and write, accessed
constexpr std::uint16_t busy_tss_attributes = 0x008b;

constexpr Segment flat(std::uint16_t selector, std::uint16_t attributes) {
    return {.selector = selector, .attributes = attributes, .limit = 0xffffffff, .base = 0};
}

template <class T>
void put(Vcpu& vcpu, std::size_t offset, T value) {
    std::memcpy(vcpu.xsave.data() + offset, &value, sizeof value);
}

}  // namespace

void set_start_state(Vcpu& vcpu, const boot::EntryState& entry) {
    reset(vcpu);
    vcpu.gpr = {};
    vcpu.rip = entry.rip.value();
    vcpu.reg(Gpr::Rsi) = entry.rsi.value();
    vcpu.reg(Gpr::Rsp) = entry.rsp.value();
    vcpu.set_rflags(RFLAGS::Fixed);
    vcpu.cpl = 0;
    vcpu.activity = Activity::Running;

    vcpu.seg(SegmentName::CS) = flat(boot::EntryState::code_selector, code_attributes);
    for (auto name : {SegmentName::DS, SegmentName::ES, SegmentName::SS}) {
        vcpu.seg(name) = flat(boot::EntryState::data_selector, data_attributes);
    }
    vcpu.seg(SegmentName::FS) = vcpu.seg(SegmentName::GS) = {};
    vcpu.ldtr = {};
    vcpu.tr = {.selector = 0, .attributes = busy_tss_attributes, .limit = 0xffff, .base = 0};
    vcpu.gdtr = {.base = entry.gdt.value(), .limit = boot::EntryState::gdt_limit};
    vcpu.idtr = {};

    vcpu.paging.cr0 = CR0::PE | CR0::ET | CR0::NE | CR0::PG;
    vcpu.paging.cr3 = entry.cr3.value();
    vcpu.paging.cr4 = CR4::PAE;
    vcpu.paging.efer = EFER::LME | EFER::LMA;
    if (vcpu.mmu != nullptr) vcpu.mmu->flush_all();

    constexpr std::size_t fcw_offset = 0;  // SDM vol. 1 table 10-2
    constexpr std::size_t mxcsr_offset = 24;
    put(vcpu, fcw_offset, std::uint16_t{0x37f});
    put(vcpu, mxcsr_offset, std::uint32_t{0x1f80});
}

}  // namespace undercroft
