// SPDX-License-Identifier: Apache-2.0
// Model-specific registers, good and bad, one line each: what a write leaves behind, and what is #GP(0) and
// leaves everything as it was.
//
// The x2APIC's: apic.cpp. Source: Intel SDM vol. 4; vol. 2 WRMSR; AMD APM vol. 2 appendix A; docs/machine.md.

#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(read_msr, AT "rdmsr");
FRAGMENT(write_msr, AT "wrmsr");

namespace {

constexpr u64 not_canonical = 1ull << 47;

Registers access(u32 index, u64 value = 0) {
    Registers in;
    in.rcx = 0xffffffff00000000 | index;  // only ecx counts
    in.rax = value & 0xffffffff, in.rdx = value >> 32;
    return in;
}
u64 value_of(const Outcome& out) { return out.registers.rdx << 32 | out.registers.rax; }

void keeps(const char* name, Msr index, u64 value, u64 expected) {
    const u32 number = static_cast<u32>(index);
    const u64 before = value_of(run(read_msr, access(number)));
    expect_done(name, run(write_msr, access(number, value)));
    check_equal(name, value_of(run(read_msr, access(number))), expected);
    run(write_msr, access(number, before));
    check_equal(name, value_of(run(read_msr, access(number))), before);
}
void keeps(const char* name, Msr index, u64 value) { keeps(name, index, value, value); }

void refuses(const char* name, u32 index, u64 value) {
    const Outcome before = run(read_msr, access(index));
    expect_trap(name, run(write_msr, access(index, value)), Vector::GP, 0, write_msr_at);
    const Outcome after = run(read_msr, access(index));
    check_equal(name, after.done(), before.done());
    if (before.done()) check_equal(name, value_of(after), value_of(before));
}
void refuses(const char* name, Msr index, u64 value) { refuses(name, static_cast<u32>(index), value); }

void unknown(const char* name, u32 index) {
    expect_trap(name, run(read_msr, access(index)), Vector::GP, 0, read_msr_at);
    expect_trap(name, run(write_msr, access(index)), Vector::GP, 0, write_msr_at);
}

bool is_amd() { return cpuid(0).ecx == 0x444d4163; }

void good() {
    keeps("STAR", Msr::IA32_STAR, 0x0123456789abcdef);
    keeps("LSTAR", Msr::IA32_LSTAR, 0xffff800000001234);
    keeps("CSTAR", Msr::IA32_CSTAR, 0x00007fffffffffff);
    keeps("FMASK", Msr::IA32_FMASK, 0x47700);
    keeps("FS base", Msr::IA32_FS_BASE, 0xffffffff80000000);
    keeps("GS base", Msr::IA32_GS_BASE, 0x00007ffffffff000);
    keeps("kernel GS base", Msr::IA32_KERNEL_GS_BASE, 0xffff800000000000);
    keeps("SYSENTER_CS", Msr::IA32_SYSENTER_CS, 0x10);
    keeps("SYSENTER_ESP", Msr::IA32_SYSENTER_ESP, 0xffff800000002000);
    keeps("SYSENTER_EIP", Msr::IA32_SYSENTER_EIP, 0xffff800000003000);
    keeps("PAT", Msr::IA32_PAT, 0x0407050600070106);
    keeps("TSC_AUX", Msr::IA32_TSC_AUX, 0xfedcba98);
    keeps("EFER without SCE", Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) & ~EFER::SCE);
    keeps("EFER without NXE", Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) & ~EFER::NXE);
    keeps("EFER: LMA follows LME and PG", Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) & ~EFER::LMA,
          rdmsr(Msr::IA32_EFER));
    expect_done("DEBUGCTL", run(write_msr, access(static_cast<u32>(Msr::IA32_DEBUGCTL), 3)));
    check_equal("DEBUGCTL reads as zero", rdmsr(Msr::IA32_DEBUGCTL), 0);
    // Bit 0: not susceptible to rogue loads.
    check_equal("ARCH_CAPABILITIES", rdmsr(Msr::IA32_ARCH_CAPABILITIES) & 1, 1);
}

void bad() {
    refuses("LSTAR not canonical", Msr::IA32_LSTAR, not_canonical);
    refuses("CSTAR not canonical", Msr::IA32_CSTAR, not_canonical);
    refuses("FS base not canonical", Msr::IA32_FS_BASE, not_canonical);
    refuses("GS base not canonical", Msr::IA32_GS_BASE, 0xfffe000000000000);
    refuses("kernel GS base not canonical", Msr::IA32_KERNEL_GS_BASE, not_canonical);
    refuses("SYSENTER_ESP not canonical", Msr::IA32_SYSENTER_ESP, not_canonical);
    refuses("SYSENTER_EIP not canonical", Msr::IA32_SYSENTER_EIP, not_canonical);
    for (unsigned entry = 0; entry < 8; ++entry) {
        refuses("PAT: type 2", Msr::IA32_PAT, 2ull << 8 * entry);
        refuses("PAT: type 3", Msr::IA32_PAT, 3ull << 8 * entry);
        refuses("PAT: type 8", Msr::IA32_PAT, 8ull << 8 * entry);
    }
    for (const unsigned bit : {1u, 7u, 9u, 12u, 13u, 14u, 15u, 31u, 63u})
        refuses("EFER: reserved bit", Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) | 1ull << bit);
    refuses("EFER: LME with paging", Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) & ~EFER::LME);
    refuses("DEBUGCTL: reserved bits", Msr::IA32_DEBUGCTL, 4);
    refuses("ARCH_CAPABILITIES cannot be written", Msr::IA32_ARCH_CAPABILITIES, 0);
    refuses("APIC base: reserved bits", Msr::IA32_APIC_BASE, rdmsr(Msr::IA32_APIC_BASE) | 1);
    refuses("APIC base: x2APIC without APIC", Msr::IA32_APIC_BASE, 0xfee00400);
    unknown("MSR 2", 2);
    unknown("MSR 0xffffffff", 0xffffffff);
    unknown("VMX capabilities", 0x480);
    unknown("VM_CR", 0xc0010114);
    unknown("SPEC_CTRL", 0x48);
    unknown("machine checks", 0x179);
    unknown("MTRRs", 0xfe);
    unknown("performance counters", 0xc1);
    unknown("XSS", 0xda0);
    unknown("KVM's asynchronous page faults", 0x4b564d02);
    unknown("KVM's end of interrupt", 0x4b564d04);
    if (is_amd()) {
        unknown("MISC_ENABLE", 0x1a0);
        expect_done("HWCR", run(read_msr, access(0xc0010015)));
    } else {
        unknown("HWCR", 0xc0010015);
        refuses("TSC_AUX: upper half", Msr::IA32_TSC_AUX, 1ull << 32);
        refuses("FEATURE_CONTROL is locked", Msr::IA32_FEATURE_CONTROL, 5);
    }
}

}  // namespace

void micro_main() {
    for (const Ring ring : {Ring::Kernel, Ring::User}) {
        const bool allowed = ring == Ring::Kernel;
        check_equal("rdmsr by ring", run(read_msr, access(0x277), ring).done(), allowed);
        check_equal("wrmsr by ring", run(write_msr, access(0x277, rdmsr(Msr::IA32_PAT)), ring).done(),
                    allowed);
    }
    good();
    bad();
}
