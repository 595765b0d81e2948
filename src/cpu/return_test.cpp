// SPDX-License-Identifier: Apache-2.0
// IRET and far RET: every return, every refusal.
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

using Return = CpuTest;
constexpr std::uint64_t target = 0x7000;
constexpr std::uint64_t top = CpuTest::kernel_stack;

TEST_F(Return, IretqToTheSameLevelAlwaysPopsTheStack) {
    put_stack(top, {kernel_data, 0x9008, RFLAGS::IF | RFLAGS::CF | RFLAGS::IOPL, kernel_code, target});
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.rip, target);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0x9008u);
    EXPECT_EQ(vcpu.rflags(), RFLAGS::Fixed | RFLAGS::IF | RFLAGS::CF | RFLAGS::IOPL);
    EXPECT_EQ(vcpu.cpl, 0);
}

TEST_F(Return, IretqToUser) {
    vcpu.seg(SegmentName::DS) = vcpu.seg(SegmentName::SS);  // DPL 0: must not leak
    vcpu.seg(SegmentName::FS) = {.selector = 0, .attributes = 0, .limit = 0, .base = 0x1234};
    put_stack(top, {user_data, user_stack, RFLAGS::IF | RFLAGS::RF, user_code, target});
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.cpl, 3);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, user_code);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, user_data);
    EXPECT_TRUE(vcpu.code_64bit());
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), user_stack);
    EXPECT_EQ(vcpu.seg(SegmentName::DS).selector, 0);
    EXPECT_EQ(vcpu.seg(SegmentName::FS).base, 0x1234u);
    EXPECT_NE(vcpu.system_flags & RFLAGS::RF, 0u);
}

TEST_F(Return, IretqToCompatibilityMode) {
    put_stack(top, {user_data, user_stack, RFLAGS::IF, user_code32, target});
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.cpl, 3);
    EXPECT_FALSE(vcpu.code_64bit());
}

TEST_F(Return, IretqToANullStackBelowCpl3) {
    put_stack(top, {0, 0x9000, RFLAGS::IF, kernel_code, target});
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, 0);
}

TEST_F(Return, IretdIn64BitModePopsFiveDoublewords) {
    std::uint64_t at_stack = top - 20;
    const std::uint32_t items[] = {target, kernel_code, RFLAGS::IF, 0x9000, kernel_data};
    for (unsigned i = 0; i < 5; ++i) at<std::uint32_t>(at_stack + i * 4) = items[i];
    vcpu.reg(Gpr::Rsp) = at_stack;
    ASSERT_TRUE(iret(vcpu, OperandSize::Dword, trap));
    EXPECT_EQ(vcpu.rip, target);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0x9000u);
}

TEST_F(Return, IretdInCompatibilityModePopsThree) {
    become_user32();
    const std::uint32_t items[] = {target, user_code32, RFLAGS::CF};
    for (unsigned i = 0; i < 3; ++i) at<std::uint32_t>(vcpu.reg(Gpr::Rsp) + i * 4) = items[i];
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    ASSERT_TRUE(iret(vcpu, OperandSize::Dword, trap));
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), rsp + 12);
    EXPECT_EQ(vcpu.rflags(), RFLAGS::Fixed | RFLAGS::CF | RFLAGS::IF) << "CPL 3 above IOPL cannot clear IF";
}

TEST_F(Return, IretdInCompatibilityModePopsFiveOnItsWayOut) {
    vcpu.seg(SegmentName::CS) = Descriptor::expand(descriptor(kernel_code32), kernel_code32);
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    const std::uint32_t items[] = {target, user_code32, RFLAGS::IF, user_stack, user_data};
    for (unsigned i = 0; i < 5; ++i) at<std::uint32_t>(rsp + i * 4) = items[i];
    ASSERT_TRUE(iret(vcpu, OperandSize::Dword, trap));
    EXPECT_EQ(vcpu.cpl, 3);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), user_stack);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, user_data);
}

TEST_F(Return, FlagsAtCpl3) {
    become_user();
    std::uint64_t all = 0x3f7fd7;
    put_stack(user_stack, {user_data, user_stack, all, user_code, target});
    vcpu.interrupt_flag = 0;
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.rflags(),
              (all & ~(RFLAGS::IF | RFLAGS::IOPL | RFLAGS::VM | RFLAGS::VIF | RFLAGS::VIP)) | RFLAGS::Fixed);
}

TEST_F(Return, FlagsAtCpl3WithIopl3) {
    become_user();
    vcpu.system_flags |= RFLAGS::IOPL;
    put_stack(user_stack, {user_data, user_stack, 0, user_code, target});
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.rflags(), RFLAGS::Fixed | RFLAGS::IOPL);
}

TEST_F(Return, FlagsAtCpl0) {
    put_stack(top, {kernel_data, 0x9000, 0x3f7fd7, kernel_code, target});
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.rflags(), 0x3f7fd7 & ~RFLAGS::VM);
}

struct BadFrame {
    const char* what;
    std::uint64_t stack;
    std::uint64_t code;
    std::uint64_t rip;
    Vector vector;
    std::uint32_t error;
};
void PrintTo(const BadFrame& bad, std::ostream* out) { *out << bad.what; }

class BadReturn : public CpuTest, public ::testing::WithParamInterface<BadFrame> {
public:
    // `spare` is absent code, `spare2` an absent stack of the user's.
    void SetUp() override {
        descriptor(spare) = flat(0x7b, code64_flags);
        descriptor(spare2) = flat(0x73, data_flags);
        descriptor(0x70) = flat(0xfb, 0xe);         // L and D
        descriptor(0x78) = flat(0xf1, data_flags);  // read-only data
    }
};

TEST_P(BadReturn, Iret) {
    const BadFrame& bad = GetParam();
    put_stack(top, {bad.stack, user_stack, RFLAGS::IF, bad.code, bad.rip});
    refuses(bad.vector, bad.error, [&] { return iret(vcpu, OperandSize::Qword, trap); });
}

TEST_P(BadReturn, FarReturn) {
    const BadFrame& bad = GetParam();
    put_stack(top, {bad.stack, user_stack, 0, bad.code, bad.rip});
    refuses(bad.vector, bad.error, [&] { return far_return(vcpu, OperandSize::Qword, 8, trap); });
}

const BadFrame bad_frames[] = {
    {"null code", user_data, 0, target, Vector::GP, 0},
    {"null code with RPL", user_data, 3, target, Vector::GP, 0},
    {"code beyond the GDT", user_data, gdt_size | 3, target, Vector::GP, gdt_size},
    {"data as code", user_data, user_data, target, Vector::GP, user_data & ~3u},
    {"RPL and DPL differ", user_data, user_code & ~3u, target, Vector::GP, user_code & ~3u},
    {"RPL above DPL", user_data, kernel_code | 3, target, Vector::GP, kernel_code},
    {"absent code", user_data, spare | 3, target, Vector::NP, spare},
    {"both L and D", user_data, 0x73, target, Vector::GP, 0x70},
    {"null stack at CPL 3", 0, user_code, target, Vector::GP, 0},
    {"null stack with RPL at CPL 3", 3, user_code, target, Vector::GP, 0},
    {"null stack to 32-bit code", 3, user_code32, target, Vector::GP, 0},
    {"stack beyond the GDT", gdt_size | 3, user_code, target, Vector::GP, gdt_size},
    {"stack of RPL 0", user_data & ~3u, user_code, target, Vector::GP, user_data & ~3u},
    {"stack of DPL 0", kernel_data | 3, user_code, target, Vector::GP, kernel_data},
    {"code as stack", user_code, user_code, target, Vector::GP, user_code & ~3u},
    {"read-only stack", 0x7b, user_code, target, Vector::GP, 0x78},
    {"absent stack", spare2 | 3, user_code, target, Vector::SS, spare2},
    {"non-canonical RIP", user_data, user_code, 1ull << 47, Vector::GP, 0},
    {"EIP beyond the limit", user_data, user_code32, 1ull << 32, Vector::GP, 0},
};
INSTANTIATE_TEST_SUITE_P(All, BadReturn, ::testing::ValuesIn(bad_frames));

TEST_F(Return, IretRefusesInwardReturns) {
    become_user();
    put_stack(user_stack, {kernel_data, top, 0, kernel_code, target});
    refuses(Vector::GP, kernel_code, [&] { return iret(vcpu, OperandSize::Qword, trap); });
}

TEST_F(Return, IretRefusesNestedTasks) {
    vcpu.system_flags |= RFLAGS::NT;
    refuses(Vector::GP, 0, [&] { return iret(vcpu, OperandSize::Qword, trap); });
}

TEST_F(Return, NullStackNeedsAMatchingRpl) {
    put_stack(top, {3, 0x9000, 0, kernel_code, target});
    refuses(Vector::GP, 0, [&] { return iret(vcpu, OperandSize::Qword, trap); });
}

TEST_F(Return, StackFaults) {
    vcpu.reg(Gpr::Rsp) = 0x0000'7fff'ffff'ffe0;  // ends beyond the canonical half
    refuses(Vector::SS, 0, [&] { return iret(vcpu, OperandSize::Qword, trap); });
    vcpu.reg(Gpr::Rsp) = 0x200000;
    refuses(Vector::PF, 0, [&] { return iret(vcpu, OperandSize::Qword, trap); });
    become_user();
    vcpu.reg(Gpr::Rsp) = 0x20000;  // the kernel's
    refuses(Vector::PF, PageFault::P | PageFault::U, [&] { return iret(vcpu, OperandSize::Qword, trap); });
}

TEST_F(Return, FarReturnToTheSameLevel) {
    put_stack(top, {0, 0, kernel_code, target});
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    ASSERT_TRUE(far_return(vcpu, OperandSize::Qword, 16, trap));
    EXPECT_EQ(vcpu.rip, target);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), rsp + 32);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, kernel_data);
}

TEST_F(Return, FarReturnToUserReleasesParametersOnBothStacks) {
    vcpu.seg(SegmentName::GS) = vcpu.seg(SegmentName::SS);
    put_stack(top, {user_data, user_stack, 0, user_code, target});
    ASSERT_TRUE(far_return(vcpu, OperandSize::Qword, 8, trap));
    EXPECT_EQ(vcpu.cpl, 3);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), user_stack + 8);
    EXPECT_EQ(vcpu.seg(SegmentName::GS).selector, 0);
}

TEST_F(Return, ReturnsSetAccessedBits) {
    descriptor(user_code) = flat(0xfa, code64_flags);
    descriptor(user_data) = flat(0xf2, data_flags);
    put_stack(top, {user_data, user_stack, RFLAGS::IF, user_code, target});
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(descriptor(user_code), flat(0xfb, code64_flags));
    EXPECT_EQ(descriptor(user_data), flat(0xf3, data_flags));
}

}  // namespace
}  // namespace undercroft::test
