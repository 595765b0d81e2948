// SPDX-License-Identifier: Apache-2.0
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

class Msrs : public CpuTest {
public:
    std::optional<std::uint64_t> read(std::uint32_t index) {
        vcpu.reg(Gpr::Rcx) = index;
        if (!rdmsr(vcpu, trap)) return std::nullopt;
        return vcpu.reg(Gpr::Rdx) << 32 | vcpu.reg(Gpr::Rax);
    }
    std::optional<std::uint64_t> read(Msr index) { return read(static_cast<std::uint32_t>(index)); }
    void prepare(std::uint32_t index, std::uint64_t value) {
        vcpu.reg(Gpr::Rcx) = 0xffffffff00000000 | index;
        vcpu.reg(Gpr::Rax) = 0xffffffff00000000 | value;
        vcpu.reg(Gpr::Rdx) = 0xffffffff00000000 | value >> 32;
    }
    bool write(std::uint32_t index, std::uint64_t value) {
        prepare(index, value);
        return wrmsr(vcpu, trap);
    }
    bool write(Msr index, std::uint64_t value) { return write(static_cast<std::uint32_t>(index), value); }
    void refuses_write(Msr index, std::uint64_t value) {
        prepare(static_cast<std::uint32_t>(index), value);
        refuses(Vector::GP, 0, [&] { return wrmsr(vcpu, trap); });
    }
};

TEST_F(Msrs, NeedCpl0) {
    become_user();
    refuses(Vector::GP, 0, [&] { return rdmsr(vcpu, trap); });
    refuses(Vector::GP, 0, [&] { return wrmsr(vcpu, trap); });
}

TEST_F(Msrs, AddressesAreCanonical) {
    for (Msr index : {Msr::IA32_LSTAR, Msr::IA32_CSTAR, Msr::IA32_FS_BASE, Msr::IA32_GS_BASE,
                      Msr::IA32_KERNEL_GS_BASE, Msr::IA32_SYSENTER_ESP, Msr::IA32_SYSENTER_EIP}) {
        ASSERT_TRUE(write(index, 0xffff800012345678));
        EXPECT_EQ(read(index), 0xffff800012345678);
        refuses_write(index, 1ull << 47);
    }
    EXPECT_EQ(vcpu.seg(SegmentName::FS).base, 0xffff800012345678);
}

TEST_F(Msrs, PlainOnes) {
    for (Msr index : {Msr::IA32_STAR, Msr::IA32_SYSENTER_CS, Msr::IA32_FMASK, Msr::IA32_TSC_AUX}) {
        ASSERT_TRUE(write(index, 0x47700));
        EXPECT_EQ(read(index), 0x47700u);
    }
    ASSERT_TRUE(write(Msr::IA32_STAR, ~0ull));
    EXPECT_EQ(read(Msr::IA32_STAR), ~0ull);
    ASSERT_TRUE(write(Msr::IA32_DEBUGCTL, 1));
    EXPECT_EQ(read(Msr::IA32_DEBUGCTL), 0u);
    refuses_write(Msr::IA32_DEBUGCTL, 4);
}

TEST_F(Msrs, Efer) {
    EXPECT_EQ(read(Msr::IA32_EFER), EFER::SCE | EFER::LME | EFER::LMA | EFER::NXE);
    ASSERT_TRUE(write(Msr::IA32_EFER, EFER::LME | EFER::NXE)) << "LMA cannot be written";
    EXPECT_EQ(read(Msr::IA32_EFER), EFER::LME | EFER::LMA | EFER::NXE);
    refuses_write(Msr::IA32_EFER, EFER::NXE);             // LME while paging
    refuses_write(Msr::IA32_EFER, EFER::LME | 1u << 12);  // SVME
    enter_legacy(CR0::PE);
    ASSERT_TRUE(write(Msr::IA32_EFER, EFER::LME | EFER::LMA));
    EXPECT_EQ(read(Msr::IA32_EFER), EFER::LME);
}

TEST_F(Msrs, Pat) {
    ASSERT_TRUE(write(Msr::IA32_PAT, 0x0007010600070106));
    refuses_write(Msr::IA32_PAT, 2);
    refuses_write(Msr::IA32_PAT, 3ull << 56);
    refuses_write(Msr::IA32_PAT, 8);
    EXPECT_EQ(read(Msr::IA32_PAT), 0x0007010600070106u);
}

TEST_F(Msrs, TimeStampCounter) {
    ASSERT_TRUE(write(Msr::IA32_TSC, 1ull << 60));
    std::uint64_t now = *read(Msr::IA32_TSC);
    EXPECT_GE(now, 1ull << 60);
    EXPECT_LT(now, (1ull << 60) + 10'000'000'000);
    ASSERT_TRUE(rdtsc(vcpu, trap));
    EXPECT_GE(vcpu.reg(Gpr::Rdx) << 32 | vcpu.reg(Gpr::Rax), now);
    vcpu.tsc_aux = 5;
    ASSERT_TRUE(rdtscp(vcpu, trap));
    EXPECT_EQ(vcpu.reg(Gpr::Rcx), 5u);
    std::uint64_t id = 0;
    ASSERT_TRUE(rdpid(vcpu, id, trap));
    EXPECT_EQ(id, 5u);
    vcpu.paging.cr4 |= CR4::TSD;
    EXPECT_TRUE(rdtsc(vcpu, trap));
    become_user();
    refuses(Vector::GP, 0, [&] { return rdtsc(vcpu, trap); });
    refuses(Vector::GP, 0, [&] { return rdtscp(vcpu, trap); });
    refuses(Vector::GP, 0, [&] { return rdpmc(vcpu, trap); });
}

TEST_F(Msrs, VendorsDiffer) {
    EXPECT_EQ(read(Msr::AMD_HWCR), 1u << 24);
    EXPECT_TRUE(write(Msr::AMD_DE_CFG, 0));
    EXPECT_EQ(read(Msr::AMD_DE_CFG), 2u);
    EXPECT_FALSE(read(Msr::IA32_MISC_ENABLE));
    EXPECT_FALSE(write(Msr::IA32_MISC_ENABLE, 1));
    EXPECT_TRUE(write(Msr::IA32_TSC_AUX, 1ull << 32));
    vcpu.cpuid = &intel;
    EXPECT_FALSE(read(Msr::AMD_HWCR));
    reset(vcpu);
    EXPECT_EQ(read(Msr::IA32_MISC_ENABLE), 0x1801u);
    EXPECT_TRUE(write(Msr::IA32_MISC_ENABLE, 0x1800));
    EXPECT_EQ(read(Msr::IA32_FEATURE_CONTROL), 1u);
    refuses_write(Msr::IA32_FEATURE_CONTROL, 5);
    refuses_write(Msr::IA32_TSC_AUX, 1ull << 32);
    EXPECT_TRUE(write(Msr::IA32_BIOS_SIGN_ID, 0));
}

TEST_F(Msrs, NoKnownFlaws) {
    EXPECT_EQ(*read(Msr::IA32_ARCH_CAPABILITIES) & 1, 1u);
    refuses_write(Msr::IA32_ARCH_CAPABILITIES, 0);
    EXPECT_TRUE(environment.reports.empty()) << "a known register";
}

TEST_F(Msrs, DevicesAndUnknown) {
    environment.msrs[0x6e0] = 0;
    ASSERT_TRUE(write(Msr::IA32_TSC_DEADLINE, 0x123456789));
    EXPECT_EQ(read(Msr::IA32_TSC_DEADLINE), 0x123456789u);
    EXPECT_FALSE(read(0x12345));
    EXPECT_FALSE(write(0x12346, 0));
    using Report = std::pair<Unusual, std::uint64_t>;
    EXPECT_EQ(environment.reports,
              (std::vector<Report>{{Unusual::UnknownMsrRead, 0x12345}, {Unusual::UnknownMsrWrite, 0x12346}}));
}

}  // namespace
}  // namespace undercroft::test
