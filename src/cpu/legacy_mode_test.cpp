// SPDX-License-Identifier: Apache-2.0
// Reset, and what a processor does in real and protected mode on its way to long mode.
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

using LegacyMode = CpuTest;

TEST_F(LegacyMode, Reset) {
    vcpu.reg(Gpr::Rax) = 1;
    vcpu.xsave.fill(std::byte{0xff});
    vcpu.pending_interrupt = 1;
    reset(vcpu);
    EXPECT_EQ(vcpu.reg(Gpr::Rax), 0u);
    EXPECT_EQ(vcpu.reg(Gpr::Rdx), 0x00a00f11u) << "the signature";
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base + vcpu.rip, 0xfffffff0u);
    EXPECT_EQ(vcpu.rflags(), RFLAGS::Fixed);
    EXPECT_EQ(vcpu.paging.cr0, 0x60000010u);
    EXPECT_EQ(vcpu.paging.efer, 0u);
    EXPECT_EQ(vcpu.idtr.limit, 0xffff);
    EXPECT_EQ(vcpu.pending_interrupt, 0);
    EXPECT_EQ(static_cast<unsigned>(vcpu.xsave[0]), 0x7fu);
    EXPECT_EQ(static_cast<unsigned>(vcpu.xsave[25]), 0x1fu);
    EXPECT_EQ(static_cast<unsigned>(vcpu.xsave[512]), 0u);
}

// The way of Linux's SMP trampoline.
TEST_F(LegacyMode, FromRealModeToLongMode) {
    reset(vcpu);
    vcpu.activity = Activity::WaitForSipi;
    start_up(vcpu, 0x08);
    ASSERT_TRUE(load_segment(vcpu, SegmentName::DS, 0x0800, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::DS).base, 0x8000u);
    ASSERT_TRUE(load_segment(vcpu, SegmentName::SS, 0x0800, trap));
    EXPECT_EQ(vcpu.interrupt_shadow, 1);
    ASSERT_TRUE(load_table(vcpu, TableName::Gdt, gdt_size - 1, gdt, trap));
    ASSERT_TRUE(lmsw(vcpu, 1, trap));
    ASSERT_TRUE(far_jump(vcpu, kernel_code32, 0x9000, trap));
    EXPECT_EQ(vcpu.rip, 0x9000u);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0u);
    ASSERT_TRUE(load_segment(vcpu, SegmentName::SS, kernel_data, trap));
    ASSERT_TRUE(write_control(vcpu, 4, CR4::PAE, trap));
    ASSERT_TRUE(write_control(vcpu, 3, tables, trap));
    vcpu.reg(Gpr::Rcx) = 0xc0000080;
    vcpu.reg(Gpr::Rax) = EFER::LME | EFER::NXE;
    vcpu.reg(Gpr::Rdx) = 0;
    ASSERT_TRUE(wrmsr(vcpu, trap));
    ASSERT_TRUE(write_control(vcpu, 0, CR0::PE | CR0::PG, trap));
    EXPECT_TRUE(vcpu.long_mode());
    ASSERT_TRUE(far_jump(vcpu, kernel_code, 0x9100, trap));
    EXPECT_TRUE(vcpu.code_64bit());
}

TEST_F(LegacyMode, RealModeInterruptAndReturn) {
    enter_legacy(CR0::ET);
    vcpu.idtr = {.base = 0, .limit = 0x3ff};
    at<std::uint32_t>(0x21 * 4) = 0x1234'5678;
    vcpu.seg(SegmentName::CS).selector = 0x0500;
    vcpu.rip = 0x100;
    vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::IF | RFLAGS::CF);
    deliver(vcpu, software_interrupt(vcpu, static_cast<Vector>(0x21), 0x102));
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0x12340u);
    EXPECT_EQ(vcpu.rip, 0x5678u);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0x8000u - 6);
    EXPECT_EQ(at<std::uint16_t>(0x7ffa), 0x102);
    EXPECT_EQ(at<std::uint16_t>(0x7ffc), 0x0500);
    EXPECT_EQ(vcpu.interrupt_flag, 0);
    ASSERT_TRUE(iret(vcpu, OperandSize::Word, trap));
    EXPECT_EQ(vcpu.rip, 0x102u);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0x5000u);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0x8000u);
    EXPECT_EQ(vcpu.rflags(), RFLAGS::Fixed | RFLAGS::IF | RFLAGS::CF);
}

TEST_F(LegacyMode, RealModeWithoutATable) {
    enter_legacy(CR0::ET);
    vcpu.idtr = {.base = 0, .limit = 3};
    deliver(vcpu, Trap::fault(Vector::UD));
    EXPECT_EQ(vcpu.activity, Activity::Shutdown);
}

TEST_F(LegacyMode, RealModeFarCall) {
    enter_legacy(CR0::ET);
    refuses(Vector::GP, 0, [&] { return far_jump(vcpu, 0x100, 0x10000, trap); });
    ASSERT_TRUE(far_jump(vcpu, 0x0200, 0x30, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0x2000u);
    ASSERT_TRUE(far_call(vcpu, 0x1000, 0x20, OperandSize::Word, 0x77, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0x10000u);
    ASSERT_TRUE(far_return(vcpu, OperandSize::Word, 0, trap));
    EXPECT_EQ(vcpu.rip, 0x77u);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0x8000u);
}

TEST_F(LegacyMode, RealModeHasNoProtectedInstructions) {
    enter_legacy(CR0::ET);
    std::uint64_t value = 0;
    refuses(Vector::UD, {}, [&] { return lldt(vcpu, 0, trap); });
    refuses(Vector::UD, {}, [&] { return ltr(vcpu, task, trap); });
    refuses(Vector::UD, {}, [&] { return query_segment(vcpu, SegmentQuery::Lar, task, value, trap); });
    refuses(Vector::UD, {}, [&] { return syscall(vcpu, 0, trap); });
    refuses(Vector::GP, 0, [&] { return sysenter(vcpu, trap); });
}

TEST_F(LegacyMode, ProtectedModeInterruptAndReturn) {
    enter_legacy(CR0::PE | CR0::ET);
    word(idt + 0x40 * 8) = 0x6000 | std::uint64_t{kernel_code32} << 16 | 0x8eull << 40;
    word(idt + 13 * 8) = 0x7000 | std::uint64_t{kernel_code32} << 16 | 0x8full << 40;
    vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::IF);
    deliver(vcpu, {.vector = static_cast<Vector>(0x40), .kind = TrapKind::ExternalInterrupt});
    EXPECT_EQ(vcpu.rip, 0x6000u);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0x8000u - 12);
    EXPECT_EQ(vcpu.interrupt_flag, 0);
    ASSERT_TRUE(iret(vcpu, OperandSize::Dword, trap));
    EXPECT_EQ(vcpu.rip, rip);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), 0x8000u);
    EXPECT_EQ(vcpu.interrupt_flag, 1);
    deliver(vcpu, Trap::fault(Vector::GP, 0x18));
    EXPECT_EQ(vcpu.rip, 0x7000u);
    EXPECT_EQ(vcpu.interrupt_flag, 1) << "a trap gate";
    EXPECT_EQ(at<std::uint32_t>(0x8000 - 16), 0x18u);
    EXPECT_EQ(at<std::uint32_t>(0x8000 - 4), RFLAGS::Fixed | RFLAGS::IF | RFLAGS::RF);
}

TEST_F(LegacyMode, ProtectedModeGatesHaveADpl) {
    enter_legacy(CR0::PE | CR0::ET);
    vcpu.seg(SegmentName::CS) = Descriptor::expand(descriptor(user_code32), user_code32);
    vcpu.cpl = 3;
    vcpu.reg(Gpr::Rsp) = user_stack;
    word(idt + 0x40 * 8) = 0x6000 | std::uint64_t{user_code32} << 16 | 0x8eull << 40;
    word(idt + 13 * 8) = 0x7000 | std::uint64_t{user_code32} << 16 | 0x8eull << 40;
    deliver(vcpu, software_interrupt(vcpu, static_cast<Vector>(0x40), rip + 2));
    EXPECT_EQ(vcpu.rip, 0x7000u);
    EXPECT_EQ(at<std::uint32_t>(vcpu.reg(Gpr::Rsp)), 0x202u);
}

TEST_F(LegacyMode, StackLimits) {
    enter_legacy(CR0::PE | CR0::ET);
    vcpu.seg(SegmentName::SS).limit = 0x7ffe;
    refuses(Vector::SS, 0, [&] { return far_call(vcpu, kernel_code32, 0, OperandSize::Dword, 0, trap); });
    vcpu.seg(SegmentName::SS).attributes |= 4;  // expands down: above the limit is inside
    refuses(Vector::SS, 0, [&] { return far_call(vcpu, kernel_code32, 0, OperandSize::Dword, 0, trap); });
    vcpu.seg(SegmentName::SS).limit = 0x7ff7;
    EXPECT_TRUE(far_call(vcpu, kernel_code32, 0, OperandSize::Dword, 0, trap));
}

}  // namespace
}  // namespace undercroft::test
