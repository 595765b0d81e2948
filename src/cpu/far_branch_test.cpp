// SPDX-License-Identifier: Apache-2.0
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

class FarBranches : public CpuTest {
public:
    // A 64-bit call gate at `spare` to `selector`:handlers.
    void set_call_gate(std::uint16_t selector, unsigned dpl, std::uint64_t offset = handlers) {
        descriptor(spare) = (offset & 0xffff) | std::uint64_t{selector} << 16 | 12ull << 40 |
                            std::uint64_t{dpl} << 45 | 1ull << 47 | (offset >> 16 & 0xffff) << 48;
        descriptor(spare2) = offset >> 32;
    }
};

TEST_F(FarBranches, JumpToCode) {
    ASSERT_TRUE(far_jump(vcpu, kernel_code32, 0x1234, trap));
    EXPECT_EQ(vcpu.rip, 0x1234u);
    EXPECT_FALSE(vcpu.code_64bit());
    ASSERT_TRUE(far_jump(vcpu, kernel_code, 0xffff800000000000, trap));
    EXPECT_TRUE(vcpu.code_64bit());
    become_user();
    ASSERT_TRUE(far_jump(vcpu, conforming, 0x1234, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, conforming | 3) << "at the same CPL";
    EXPECT_EQ(vcpu.cpl, 3);
}

TEST_F(FarBranches, Refusals) {
    refuses(Vector::GP, 0, [&] { return far_jump(vcpu, 0, 0x1234, trap); });
    refuses(Vector::GP, gdt_size, [&] { return far_jump(vcpu, gdt_size, 0x1234, trap); });
    refuses(Vector::GP, kernel_data, [&] { return far_jump(vcpu, kernel_data, 0x1234, trap); });
    refuses(Vector::GP, task, [&] { return far_jump(vcpu, task, 0x1234, trap); });
    refuses(Vector::GP, user_code & ~3u, [&] { return far_jump(vcpu, user_code, 0x1234, trap); });
    refuses(Vector::GP, kernel_code, [&] { return far_jump(vcpu, kernel_code | 3, 0x1234, trap); });
    refuses(Vector::GP, 0, [&] { return far_jump(vcpu, kernel_code, 1ull << 47, trap); });
    refuses(Vector::GP, 0, [&] { return far_jump(vcpu, kernel_code32, 1ull << 32, trap); });
    descriptor(spare) = flat(0x1b, code64_flags);
    refuses(Vector::NP, spare, [&] { return far_jump(vcpu, spare, 0x1234, trap); });
    become_user();
    refuses(Vector::GP, kernel_code, [&] { return far_jump(vcpu, kernel_code | 3, 0x1234, trap); });
}

TEST_F(FarBranches, CallPushesTheReturnPointer) {
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    ASSERT_TRUE(far_call(vcpu, kernel_code, 0x1234, OperandSize::Qword, rip + 10, trap));
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), rsp - 16);
    EXPECT_EQ(pushed(0), rip + 10);
    EXPECT_EQ(pushed(1), kernel_code);
    ASSERT_TRUE(far_return(vcpu, OperandSize::Qword, 0, trap));
    EXPECT_EQ(vcpu.rip, rip + 10);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), rsp);
    ASSERT_TRUE(far_call(vcpu, kernel_code, 0x1234, OperandSize::Dword, rip + 7, trap));
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), rsp - 8);
    EXPECT_EQ(at<std::uint32_t>(rsp - 8), rip + 7);
}

TEST_F(FarBranches, CallWithoutAStack) {
    vcpu.reg(Gpr::Rsp) = 0x200008;
    refuses(Vector::PF, PageFault::W,
            [&] { return far_call(vcpu, kernel_code, 0x1234, OperandSize::Qword, rip, trap); });
    vcpu.reg(Gpr::Rsp) = (1ull << 47) + 8;
    refuses(Vector::SS, 0,
            [&] { return far_call(vcpu, kernel_code, 0x1234, OperandSize::Qword, rip, trap); });
}

TEST_F(FarBranches, CallThroughAGateToTheKernel) {
    become_user();
    set_call_gate(kernel_code, 3);
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    ASSERT_TRUE(far_call(vcpu, spare | 3, 0, OperandSize::Qword, rip + 7, trap));
    EXPECT_EQ(vcpu.rip, handlers);
    EXPECT_EQ(vcpu.cpl, 0);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), kernel_stack - 32);
    EXPECT_EQ(pushed(0), rip + 7);
    EXPECT_EQ(pushed(1), user_code);
    EXPECT_EQ(pushed(2), rsp);
    EXPECT_EQ(pushed(3), user_data);
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, 0);
    ASSERT_TRUE(far_return(vcpu, OperandSize::Qword, 0, trap));
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), rsp);
    EXPECT_EQ(vcpu.cpl, 3);
}

TEST_F(FarBranches, GateAtTheSameLevel) {
    set_call_gate(kernel_code, 0);
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    ASSERT_TRUE(far_jump(vcpu, spare, 0, trap));
    EXPECT_EQ(vcpu.rip, handlers);
    ASSERT_TRUE(far_call(vcpu, spare, 0, OperandSize::Dword, rip + 7, trap));
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), rsp - 16) << "quadwords whatever the operand size";
}

TEST_F(FarBranches, GateRefusals) {
    auto call = [&] { return far_call(vcpu, spare | 3, 0, OperandSize::Qword, rip, trap); };
    become_user();
    set_call_gate(kernel_code, 0);
    refuses(Vector::GP, spare, call);
    set_call_gate(kernel_code, 3);
    refuses(Vector::GP, kernel_code, [&] { return far_jump(vcpu, spare | 3, 0, trap); });
    descriptor(spare2) |= 1ull << 41;
    refuses(Vector::GP, spare, call);
    set_call_gate(kernel_code, 3);
    descriptor(spare) &= ~(1ull << 47);
    refuses(Vector::NP, spare, call);
    set_call_gate(0, 3);
    refuses(Vector::GP, 0, call);
    set_call_gate(kernel_code32, 3);
    refuses(Vector::GP, kernel_code32, call);
    set_call_gate(kernel_data, 3);
    refuses(Vector::GP, kernel_data, call);
    set_call_gate(kernel_code, 3, 1ull << 47);
    refuses(Vector::GP, 0, call);
    set_call_gate(kernel_code, 3);
    vcpu.tr.limit = 10;
    refuses(Vector::TS, task, call);
    vcpu.tr.limit = 0x67;
    set_stack(4, (1ull << 47) + 16);
    refuses(Vector::SS, 0, call);
}

}  // namespace
}  // namespace undercroft::test
