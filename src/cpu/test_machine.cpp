// SPDX-License-Identifier: Apache-2.0
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

Segment cached(std::uint64_t raw, std::uint16_t selector) { return Descriptor::expand(raw, selector); }

CpuidResult host(std::uint32_t leaf, std::uint32_t subleaf, CpuidResult vendor) {
    constexpr std::uint32_t all = 0xffffffff;
    switch (leaf) {
        case 0:
        case 0x80000000: vendor.eax = leaf == 0 ? 0x20 : 0x80000023; return vendor;
        case 1: return {.eax = 0x00a00f11, .ebx = 0x00ff0800, .ecx = all, .edx = all};
        case 4:
        case 0x8000001d:
            if (subleaf > 3) return {};
            return {.eax = 0xfc01c121 + (subleaf > 1 ? subleaf - 1 : 0) * 0x20, .ebx = 0x01c0003f, .ecx = 63};
        case 0xd:
            return subleaf == 0 ? CpuidResult{.eax = 0xe7, .ebx = 2440, .ecx = 2440}
                                : CpuidResult{.eax = all};
        default: return {.eax = all, .ebx = all, .ecx = all, .edx = all};
    }
}

}  // namespace

CpuidResult amd_host(std::uint32_t leaf, std::uint32_t subleaf) {
    return host(leaf, subleaf, {.ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65});
}
CpuidResult intel_host(std::uint32_t leaf, std::uint32_t subleaf) {
    return host(leaf, subleaf, {.ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69});
}

CpuTest::CpuTest() {
    vcpu.mmu = &mmu;
    vcpu.environment = &environment;
    vcpu.cpuid = &amd;
    word(tables) = (tables + 0x1000) | 7;
    word(tables + 0x1000) = (tables + 0x2000) | 7;
    word(tables + 0x2000) = (tables + 0x3000) | 7;
    for (std::uint64_t page = 0; page < 512; ++page) {
        page_entry(page << 12) = page << 12 | 3 | (page << 12 >= user_start ? PageEntry::US : 0);
    }
    descriptor(kernel_code) = flat(0x9b, code64_flags);
    descriptor(kernel_data) = flat(0x93, data_flags);
    descriptor(user_code32) = flat(0xfb, code32_flags);
    descriptor(user_data) = flat(0xf3, data_flags);
    descriptor(user_code) = flat(0xfb, code64_flags);
    descriptor(task) = 0x67 | tss << 16 | 0x89ull << 40;
    descriptor(local) = 0xff | ldt << 16 | 0x82ull << 40;
    descriptor(conforming) = flat(0x9f, code64_flags);
    descriptor(kernel_code32) = flat(0x9b, code32_flags);
    for (unsigned vector = 0; vector < 256; ++vector) set_gate(vector, 14);
    set_stack(4, kernel_stack);
    set_stack(36, ist_stack);

    vcpu.paging = {CR0::PE | CR0::PG | CR0::WP | CR0::ET, tables, CR4::PAE | CR4::PGE,
                   EFER::LME | EFER::LMA | EFER::NXE | EFER::SCE};
    mmu.flush_all();
    vcpu.gdtr = {.base = gdt, .limit = gdt_size - 1};
    vcpu.idtr = {.base = idt, .limit = 0xfff};
    vcpu.tr = {.selector = task, .attributes = 0x8b, .limit = 0x67, .base = tss};
    vcpu.seg(SegmentName::CS) = cached(descriptor(kernel_code), kernel_code);
    vcpu.seg(SegmentName::SS) = cached(descriptor(kernel_data), kernel_data);
    vcpu.reg(Gpr::Rsp) = kernel_stack - 0x800;
    vcpu.rip = rip;
    vcpu.star = 0x001b'0008'0000'0000;
    vcpu.lstar = 0xffffffff81000000;
    vcpu.cstar = 0xffffffff82000000;
    vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::IF);
}

void CpuTest::set_gate(unsigned vector, std::uint64_t type, unsigned dpl, unsigned ist,
                       std::uint16_t selector) {
    std::uint64_t offset = handler_of(vector);
    std::uint64_t low =
        (offset & 0xffff) | std::uint64_t{selector} << 16 | std::uint64_t{ist} << 32 | type << 40;
    word(idt + vector * 16) = low | std::uint64_t{dpl} << 45 | 1ull << 47 | (offset >> 16 & 0xffff) << 48;
    word(idt + vector * 16 + 8) = offset >> 32;
}

void CpuTest::become_user() {
    vcpu.seg(SegmentName::CS) = cached(descriptor(user_code), user_code);
    vcpu.seg(SegmentName::SS) = cached(descriptor(user_data), user_data);
    vcpu.cpl = 3;
    vcpu.reg(Gpr::Rsp) = user_stack - 0x800;
}

void CpuTest::become_user32() {
    become_user();
    vcpu.seg(SegmentName::CS) = cached(descriptor(user_code32), user_code32);
}

void CpuTest::enter_legacy(std::uint64_t cr0) {
    vcpu.paging.cr0 = cr0;
    vcpu.paging.efer &= ~(EFER::LMA | EFER::LME);
    vcpu.mmu->flush_all();
    bool real = (cr0 & CR0::PE) == 0;
    Segment flat_real{.selector = 0, .attributes = 0x93, .limit = 0xffff, .base = 0};
    vcpu.segment.fill(real ? flat_real : cached(descriptor(kernel_data), kernel_data));
    vcpu.seg(SegmentName::CS) = real ? flat_real : cached(descriptor(kernel_code32), kernel_code32);
    vcpu.reg(Gpr::Rsp) = 0x8000;
}

}  // namespace undercroft::test
