// SPDX-License-Identifier: Apache-2.0
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

using SystemCall = CpuTest;

TEST_F(SystemCall, Syscall) {
    become_user();
    vcpu.fmask = RFLAGS::IF | RFLAGS::TF | RFLAGS::AC;
    vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::IF | RFLAGS::AC | RFLAGS::ZF | RFLAGS::RF);
    ASSERT_TRUE(syscall(vcpu, rip + 2, trap));
    EXPECT_EQ(vcpu.rip, vcpu.lstar);
    EXPECT_EQ(vcpu.reg(Gpr::Rcx), rip + 2);
    EXPECT_EQ(vcpu.reg(Gpr::R11), RFLAGS::Fixed | RFLAGS::IF | RFLAGS::AC | RFLAGS::ZF);
    EXPECT_EQ(vcpu.rflags(), RFLAGS::Fixed | RFLAGS::ZF);
    EXPECT_EQ(vcpu.cpl, 0);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, 0x08);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).attributes, 0xa09b);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, 0x10);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).attributes, 0xc093);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), user_stack - 0x800) << "RSP stays";
}

TEST_F(SystemCall, SyscallNeedsSce) {
    vcpu.paging.efer &= ~EFER::SCE;
    refuses(Vector::UD, {}, [&] { return syscall(vcpu, rip + 2, trap); });
    refuses(Vector::UD, {}, [&] { return sysret(vcpu, OperandSize::Qword, trap); });
}

TEST_F(SystemCall, SyscallFromCompatibilityMode) {
    become_user32();
    vcpu.cpuid = &intel;
    refuses(Vector::UD, {}, [&] { return syscall(vcpu, rip + 2, trap); });
    vcpu.cpuid = &amd;
    ASSERT_TRUE(syscall(vcpu, rip + 2, trap));
    EXPECT_EQ(vcpu.rip, vcpu.cstar);
    EXPECT_TRUE(vcpu.code_64bit());
}

TEST_F(SystemCall, Sysretq) {
    vcpu.reg(Gpr::Rcx) = 0x7fff12345678;
    vcpu.reg(Gpr::R11) = 0xffffffffffffffff;
    ASSERT_TRUE(sysret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.rip, 0x7fff12345678u);
    EXPECT_EQ(vcpu.rflags(), 0x3c7fd7u) << "no RF, no VM";
    EXPECT_EQ(vcpu.cpl, 3);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, user_code);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).attributes, 0xa0fb);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, user_data);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).attributes, 0xc0f3);
}

TEST_F(SystemCall, SysretlGoesToCompatibilityMode) {
    vcpu.reg(Gpr::Rcx) = 0x1'0000'1234;
    vcpu.reg(Gpr::R11) = RFLAGS::IF;
    ASSERT_TRUE(sysret(vcpu, OperandSize::Dword, trap));
    EXPECT_EQ(vcpu.rip, 0x1234u);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, user_code32);
    EXPECT_FALSE(vcpu.code_64bit());
    EXPECT_EQ(vcpu.seg(SegmentName::CS).attributes, 0xc0fb);
}

TEST_F(SystemCall, SysretToANonCanonicalAddress) {
    vcpu.reg(Gpr::Rcx) = 1ull << 47;
    vcpu.cpuid = &intel;
    refuses(Vector::GP, 0, [&] { return sysret(vcpu, OperandSize::Qword, trap); });
    vcpu.cpuid = &amd;
    ASSERT_TRUE(sysret(vcpu, OperandSize::Qword, trap)) << "AMD faults at the fetch";
    EXPECT_EQ(vcpu.cpl, 3);
    EXPECT_EQ(vcpu.rip, 1ull << 47);
}

TEST_F(SystemCall, SysretRefused) {
    become_user();
    refuses(Vector::GP, 0, [&] { return sysret(vcpu, OperandSize::Qword, trap); });
    become_user32();
    refuses(Vector::UD, {}, [&] { return sysret(vcpu, OperandSize::Qword, trap); });
}

TEST_F(SystemCall, SysenterInLongModeIsIntelsOnly) {
    vcpu.sysenter_cs = 0x08;
    vcpu.sysenter_esp = 0xffffffff80001000;
    vcpu.sysenter_eip = 0xffffffff80002000;
    become_user32();
    refuses(Vector::UD, {}, [&] { return sysenter(vcpu, trap); });
    refuses(Vector::GP, 0, [&] { return sysexit(vcpu, OperandSize::Dword, trap); });  // CPL 3, first of all
    vcpu.cpl = 0;
    refuses(Vector::UD, {}, [&] { return sysexit(vcpu, OperandSize::Dword, trap); });
    vcpu.cpl = 3;
    vcpu.cpuid = &intel;
    ASSERT_TRUE(sysenter(vcpu, trap));
    EXPECT_EQ(vcpu.rip, 0xffffffff80002000u);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0xffffffff80001000u);
    EXPECT_EQ(vcpu.interrupt_flag, 0);
    EXPECT_EQ(vcpu.cpl, 0);
    EXPECT_TRUE(vcpu.code_64bit());
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, 0x10);

    vcpu.reg(Gpr::Rcx) = 0x1'0000'5000;
    vcpu.reg(Gpr::Rdx) = 0x1'0000'6000;
    ASSERT_TRUE(sysexit(vcpu, OperandSize::Dword, trap));
    EXPECT_EQ(vcpu.rip, 0x6000u);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0x5000u);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, 0x1b);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, 0x23);
    EXPECT_FALSE(vcpu.code_64bit());
}

TEST_F(SystemCall, SysexitTo64Bit) {
    vcpu.cpuid = &intel;
    vcpu.sysenter_cs = 0x08;
    vcpu.reg(Gpr::Rcx) = 0x5000;
    vcpu.reg(Gpr::Rdx) = 1ull << 47;
    refuses(Vector::GP, 0, [&] { return sysexit(vcpu, OperandSize::Qword, trap); });
    vcpu.reg(Gpr::Rdx) = 0x6000;
    ASSERT_TRUE(sysexit(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, 0x2b);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, 0x33);
    EXPECT_TRUE(vcpu.code_64bit());
    refuses(Vector::GP, 0, [&] { return sysexit(vcpu, OperandSize::Qword, trap); });  // CPL 3
}

TEST_F(SystemCall, SysenterNeedsASelector) {
    vcpu.cpuid = &intel;
    vcpu.sysenter_cs = 3;
    refuses(Vector::GP, 0, [&] { return sysenter(vcpu, trap); });
    refuses(Vector::GP, 0, [&] { return sysexit(vcpu, OperandSize::Dword, trap); });
}

}  // namespace
}  // namespace undercroft::test
