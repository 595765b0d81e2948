// SPDX-License-Identifier: Apache-2.0
// What CPUID promises, on a host of each vendor that has everything, and on this host.
#include "cpu/test_machine.hpp"

#include <cpuid.h>

namespace undercroft::test {
namespace {

class Cpuid : public CpuTest {
public:
    CpuidResult ask(std::uint32_t leaf, std::uint32_t subleaf = 0) {
        vcpu.reg(Gpr::Rax) = leaf;
        vcpu.reg(Gpr::Rcx) = subleaf;
        EXPECT_TRUE(cpuid(vcpu, trap));
        return {
            static_cast<std::uint32_t>(vcpu.reg(Gpr::Rax)), static_cast<std::uint32_t>(vcpu.reg(Gpr::Rbx)),
            static_cast<std::uint32_t>(vcpu.reg(Gpr::Rcx)), static_cast<std::uint32_t>(vcpu.reg(Gpr::Rdx))};
    }
    bool all_zero(const CpuidResult& r) { return (r.eax | r.ebx | r.ecx | r.edx) == 0; }
};

// The allow-list as a number: a change here is a change of docs/machine.md.
TEST_F(Cpuid, FeaturesOfAHostThatHasAll) {
    for (const CpuidTable* table : {&amd, &intel}) {
        vcpu.cpuid = table;
        EXPECT_EQ(ask(1).ecx, 0xf7fa3203u & ~(1u << 27));
        EXPECT_EQ(ask(1).edx, 0x178bab7du);
        EXPECT_EQ(ask(7).ebx, 0x219c27e9u & ~(1u << 25));
        EXPECT_EQ(ask(7).ecx, 0x00400604u);
        EXPECT_EQ(ask(7).edx, 0x20000010u);
        EXPECT_TRUE(all_zero(ask(7, 1)));
    }
    vcpu.cpuid = &amd;
    EXPECT_EQ(ask(0x80000001).ecx, 0x00400123u);
    EXPECT_EQ(ask(0x80000001).edx, 0x2c500800u | 0x0183ab7d);
    EXPECT_EQ(ask(0x80000021).eax, 0x44u);
    vcpu.cpuid = &intel;
    EXPECT_EQ(ask(0x80000001).ecx & ~0x121u, 0u);
}

TEST_F(Cpuid, HidesWhatWeLack) {
    constexpr std::uint32_t monitor = 1u << 3, vmx = 1u << 5;
    EXPECT_EQ(ask(1).ecx & (monitor | vmx), 0u);
    constexpr std::uint32_t vme = 1u << 1, mce = 1u << 7, mtrr = 1u << 12, mca = 1u << 14;
    EXPECT_EQ(ask(1).edx & (vme | mce | mtrr | mca), 0u);
    constexpr std::uint32_t tsc_adjust = 1u << 1, hle = 1u << 4, rtm = 1u << 11, avx512f = 1u << 16;
    EXPECT_EQ(ask(7).ebx & (tsc_adjust | hle | rtm | avx512f), 0u);
    constexpr std::uint32_t pku = 1u << 3, shstk = 1u << 7, la57 = 1u << 16, movdiri = 1u << 27;
    EXPECT_EQ(ask(7).ecx & (pku | shstk | la57 | movdiri), 0u);
    constexpr std::uint32_t svm = 1u << 2, xop = 1u << 11, mwaitx = 1u << 29;
    EXPECT_EQ(ask(0x80000001).ecx & (svm | xop | mwaitx), 0u);
    EXPECT_TRUE(all_zero(ask(5)));
    EXPECT_TRUE(all_zero(ask(0xa)));
    EXPECT_TRUE(all_zero(ask(0x8000000a)));
    EXPECT_TRUE(all_zero(ask(0x8000001f))) << "memory encryption";
}

TEST_F(Cpuid, DependsOnTheVcpu) {
    vcpu.apic_id = 1;
    EXPECT_EQ(ask(1).ebx, 0x01020800u);
    EXPECT_EQ(ask(0xb, 0).edx, 1u);
    EXPECT_EQ(ask(0xb, 7).edx, 1u);
    EXPECT_EQ(ask(0xb, 7).ecx, 7u);
    EXPECT_EQ(ask(0x8000001e).eax, 1u);
    EXPECT_EQ(ask(0x8000001e).ebx, 1u);
    EXPECT_EQ(ask(1).ecx >> 27 & 1, 0u);
    vcpu.paging.cr4 |= CR4::OSXSAVE;
    EXPECT_EQ(ask(1).ecx >> 27 & 1, 1u);
}

TEST_F(Cpuid, Topology) {
    CpuidResult threads = ask(0xb, 0);
    EXPECT_EQ(threads.eax, 0u);
    EXPECT_EQ(threads.ebx, 1u);
    EXPECT_EQ(threads.ecx, 0x100u);
    CpuidResult cores = ask(0xb, 1);
    EXPECT_EQ(cores.eax, 1u);
    EXPECT_EQ(cores.ebx, 2u);
    EXPECT_EQ(cores.ecx, 0x201u);
    EXPECT_EQ(ask(0xb, 2).ebx, 0u);
    EXPECT_EQ(ask(0x80000008).ecx, 0x1001u);
    for (const CpuidTable* table : {&amd, &intel}) {
        vcpu.cpuid = table;
        std::uint32_t leaf = table->is_amd() ? 0x8000001d : 4;
        EXPECT_EQ(ask(leaf, 0).eax >> 14 & 0xfff, 0u) << "first level: private";
        EXPECT_EQ(ask(leaf, 3).eax >> 5 & 7, 3u);
        EXPECT_EQ(ask(leaf, 3).eax >> 14 & 0xfff, 1u) << "third level: shared by two";
        EXPECT_EQ(ask(leaf, 4).eax & 0x1f, 0u);
    }
}

TEST_F(Cpuid, XsaveSizes) {
    EXPECT_EQ(ask(0xd).eax, 7u);
    EXPECT_EQ(ask(0xd).ebx, 576u);
    EXPECT_EQ(ask(0xd).ecx, 832u);
    vcpu.xcr0 = 7;
    EXPECT_EQ(ask(0xd).ebx, 832u);
    EXPECT_EQ(ask(0xd, 1).eax, 1u) << "XSAVEOPT; no XSAVEC, XSAVES, XGETBV(1)";
    EXPECT_EQ(ask(0xd, 2).eax, 256u);
    EXPECT_EQ(ask(0xd, 2).ebx, 576u);
    EXPECT_TRUE(all_zero(ask(0xd, 3)));
}

TEST_F(Cpuid, AHostWithoutAvx) {
    CpuidTable table{[](std::uint32_t leaf, std::uint32_t subleaf) {
                         CpuidResult result = amd_host(leaf, subleaf);
                         if (leaf == 0xd) result.ebx = 576;  // its kernel has not switched it on
                         return result;
                     },
                     2'000'000, 1};
    vcpu.cpuid = &table;
    constexpr std::uint32_t fma = 1u << 12, avx = 1u << 28, f16c = 1u << 29, avx2 = 1u << 5, vaes = 1u << 9;
    EXPECT_EQ(ask(1).ecx & (fma | avx | f16c), 0u);
    EXPECT_EQ(ask(7).ebx & avx2, 0u);
    EXPECT_EQ(ask(7).ecx & vaes, 0u);
    EXPECT_EQ(ask(0xd).eax, 3u);
    EXPECT_EQ(ask(0xd).ecx, 576u);
    EXPECT_TRUE(all_zero(ask(0xd, 2)));
    EXPECT_EQ(ask(1).edx >> 28 & 1, 0u) << "one vCPU: no HTT";
}

TEST_F(Cpuid, Hypervisor) {
    CpuidResult signature = ask(0x40000000);
    EXPECT_EQ(signature.eax, 0x40000010u);
    char text[13] = {};
    std::memcpy(text, &signature.ebx, 4);
    std::memcpy(text + 4, &signature.ecx, 4);
    std::memcpy(text + 8, &signature.edx, 4);
    EXPECT_STREQ(text, "KVMKVMKVM");
    EXPECT_EQ(ask(0x40000001).eax, 0x0100022au);
    EXPECT_EQ(ask(0x40000010).eax, 2'000'000u);
    EXPECT_TRUE(all_zero(ask(0x40000005)));
    EXPECT_TRUE(all_zero(ask(0x40000200)));
    CpuidResult ours = ask(0x40000100);
    EXPECT_EQ(ours.eax, 0x40000101u);
    std::memcpy(text, &ours.ebx, 4);
    std::memcpy(text + 4, &ours.ecx, 4);
    std::memcpy(text + 8, &ours.edx, 4);
    EXPECT_STREQ(text, "UndercroftVM");
}

TEST_F(Cpuid, TimeStampCounter) {
    EXPECT_EQ(ask(0x80000007).edx, 1u << 8);
    EXPECT_TRUE(all_zero(ask(0x15))) << "not on AMD";
    vcpu.cpuid = &intel;
    CpuidResult crystal = ask(0x15);
    EXPECT_EQ(std::uint64_t{crystal.ecx} * crystal.ebx / crystal.eax, 2'000'000'000u);
}

TEST_F(Cpuid, OutOfRange) {
    EXPECT_TRUE(all_zero(ask(0x100)));
    EXPECT_TRUE(all_zero(ask(0x80000100)));
    EXPECT_TRUE(all_zero(ask(0x80000022)));
    vcpu.cpuid = &intel;
    CpuidResult last = ask(ask(0).eax);
    EXPECT_EQ(ask(0x100).eax, last.eax);
    EXPECT_EQ(ask(0x80000100).ecx, last.ecx);
    EXPECT_TRUE(all_zero(ask(0x8)));
}

TEST_F(Cpuid, OfThisHost) {
    CpuidTable table{2'000'000, 1};
    vcpu.cpuid = &table;
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    __cpuid(1, eax, ebx, ecx, edx);
    EXPECT_EQ(ask(1).eax, eax) << "family, model, stepping";
    constexpr std::uint32_t ours = 1u << 21 | 1u << 24 | 1u << 31;
    EXPECT_EQ(ask(1).ecx & ~ours & ~ecx, 0u) << "nothing that the host lacks";
    EXPECT_EQ(ask(0x80000008).eax, 0x3028u);
    const std::vector<CpuidTable::Leaf>& leaves = table.leaves();
    for (std::size_t i = 1; i < leaves.size(); ++i) {
        const CpuidTable::Leaf& a = leaves[i - 1];
        const CpuidTable::Leaf& b = leaves[i];
        EXPECT_TRUE(a.leaf < b.leaf || (a.leaf == b.leaf && a.subleaf < b.subleaf)) << b.leaf;
    }
}

}  // namespace
}  // namespace undercroft::test
