// SPDX-License-Identifier: Apache-2.0
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

using Attend = CpuTest;

TEST_F(Attend, NothingToDo) {
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(environment.acknowledged, 0u);
}

TEST_F(Attend, TakesAnInterrupt) {
    environment.interrupts = {0x51};
    vcpu.request(Attention::Interrupt);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, handler_of(0x51));
    EXPECT_EQ(vcpu.attention.load(), 0u);
    EXPECT_EQ(vcpu.pending_interrupt, 0);
}

TEST_F(Attend, InterruptWithdrawn) {
    vcpu.request(Attention::Interrupt);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, rip);
    EXPECT_EQ(vcpu.pending_interrupt, 0);
}

TEST_F(Attend, InterruptWaitsForIf) {
    environment.interrupts = {0x51};
    vcpu.interrupt_flag = 0;
    vcpu.request(Attention::Interrupt);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, rip);
    EXPECT_EQ(vcpu.attention.load(), 0u) << "or translated code would spin";
    EXPECT_EQ(vcpu.pending_interrupt, 1);
    EXPECT_EQ(environment.acknowledged, 0u);

    ASSERT_TRUE(sti(vcpu, trap));
    EXPECT_EQ(vcpu.attention.load(), Attention::Interrupt);
    EXPECT_EQ(vcpu.interrupt_shadow, 1);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, rip) << "not in the shadow";
    EXPECT_EQ(vcpu.attention.load(), Attention::Interrupt) << "again after the next instruction";
    vcpu.interrupt_shadow = 0;
    attend(vcpu);
    EXPECT_EQ(vcpu.rip, handler_of(0x51));
}

TEST_F(Attend, InterruptsThatIretAndPopfLetIn) {
    vcpu.interrupt_flag = 0;
    vcpu.pending_interrupt = 1;
    ASSERT_TRUE(popf(vcpu, RFLAGS::IF, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.attention.exchange(0), Attention::Interrupt);
    vcpu.interrupt_flag = 0;
    put_stack(kernel_stack, {kernel_data, kernel_stack, RFLAGS::IF, kernel_code, 0x6000});
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.attention.exchange(0), Attention::Interrupt);
    vcpu.interrupt_flag = 0;
    vcpu.reg(Gpr::R11) = RFLAGS::IF;
    ASSERT_TRUE(sysret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.attention.load(), Attention::Interrupt);
}

TEST_F(Attend, NmiIgnoresIfAndBlocksTheNextUntilIret) {
    vcpu.interrupt_flag = 0;
    vcpu.request(Attention::Nmi);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    expect_at_handler(Vector::NMI);
    EXPECT_EQ(vcpu.nmi_blocked, 1);

    vcpu.rip = 0x6000;
    vcpu.request(Attention::Nmi);
    attend(vcpu);
    EXPECT_EQ(vcpu.rip, 0x6000u);
    EXPECT_EQ(vcpu.pending_nmi, 1);
    EXPECT_EQ(vcpu.attention.load(), 0u);

    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.rip, rip);
    EXPECT_EQ(vcpu.nmi_blocked, 0);
    EXPECT_EQ(vcpu.attention.load(), Attention::Nmi);
    attend(vcpu);
    expect_at_handler(Vector::NMI);
}

TEST_F(Attend, AFaultingIretUnblocksNmisToo) {
    vcpu.nmi_blocked = 1;
    vcpu.system_flags |= RFLAGS::NT;
    EXPECT_FALSE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.nmi_blocked, 0);
}

TEST_F(Attend, NmiComesBeforeTheInterrupt) {
    environment.interrupts = {0x51};
    set_gate(2, 15);  // leaves IF alone
    vcpu.request(Attention::Nmi | Attention::Interrupt);
    attend(vcpu);
    expect_at_handler(Vector::NMI);
    EXPECT_EQ(vcpu.attention.load(), Attention::Interrupt);
    attend(vcpu);
    EXPECT_EQ(vcpu.rip, handler_of(0x51));
}

TEST_F(Attend, ShadowHoldsBackNmis) {
    vcpu.interrupt_shadow = 1;
    vcpu.request(Attention::Nmi);
    attend(vcpu);
    EXPECT_EQ(vcpu.rip, rip);
    EXPECT_EQ(vcpu.attention.load(), Attention::Nmi);
}

TEST_F(Attend, StopIsSaidOnceAndLosesNothing) {
    environment.interrupts = {0x51};
    vcpu.request(Attention::Stop | Attention::Interrupt);
    EXPECT_EQ(attend(vcpu), Attended::Stop);
    EXPECT_EQ(vcpu.rip, rip);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, handler_of(0x51));
}

TEST_F(Attend, Halt) {
    vcpu.interrupt_flag = 0;
    ASSERT_TRUE(sti(vcpu, trap));
    ASSERT_TRUE(hlt(vcpu, trap));
    EXPECT_EQ(attend(vcpu), Attended::Halted);
    vcpu.request(Attention::Resync);
    EXPECT_EQ(attend(vcpu), Attended::Halted);
    environment.interrupts = {0x51};
    vcpu.request(Attention::Interrupt);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, handler_of(0x51));
}

TEST_F(Attend, AnInterruptThatWaitedKeepsStiHltFromSleeping) {
    vcpu.interrupt_flag = 0;
    environment.interrupts = {0x51};
    vcpu.request(Attention::Interrupt);
    attend(vcpu);
    ASSERT_TRUE(sti(vcpu, trap));
    ASSERT_TRUE(hlt(vcpu, trap));
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, handler_of(0x51));
}

TEST_F(Attend, HaltedWithInterruptsOffSleepsOn) {
    vcpu.interrupt_flag = 0;
    ASSERT_TRUE(hlt(vcpu, trap));
    environment.interrupts = {0x51};
    vcpu.request(Attention::Interrupt);
    EXPECT_EQ(attend(vcpu), Attended::Halted);
    EXPECT_EQ(environment.acknowledged, 0u);
}

TEST_F(Attend, HltNeedsCpl0) {
    become_user();
    refuses(Vector::GP, 0, [&] { return hlt(vcpu, trap); });
}

TEST_F(Attend, WaitingForSipiTakesNoInterrupt) {
    reset(vcpu);
    vcpu.activity = Activity::WaitForSipi;
    vcpu.request(Attention::Interrupt | Attention::Nmi);
    EXPECT_EQ(attend(vcpu), Attended::Halted);
    start_up(vcpu, 0x9a);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0x9a000u);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, 0x9a00);
    EXPECT_EQ(vcpu.rip, 0u);
    EXPECT_EQ(vcpu.activity, Activity::Running);
    start_up(vcpu, 0x10);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0x9a000u) << "ignored by a running processor";
}

TEST_F(Attend, InitAndStartUpInOneGo) {
    request_init(vcpu);
    request_start_up(vcpu, 0x12);
    request_start_up(vcpu, 0x34);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0x12000u) << "the first counts";
    EXPECT_EQ(vcpu.paging.cr0 & CR0::PE, 0u);
    request_start_up(vcpu, 0x34);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).base, 0x12000u) << "it runs";
    request_start_up(vcpu, 0x34);
    request_init(vcpu);
    EXPECT_EQ(attend(vcpu), Attended::Halted) << "a start-up IPI from before INIT is void";
}

TEST_F(Attend, NmiBetweenInitAndStartUpIsLost) {
    request_nmi(vcpu);  // also one from before
    request_init(vcpu);
    request_nmi(vcpu);
    request_start_up(vcpu, 0x12);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, 0u) << "not in the handler";
    EXPECT_EQ(vcpu.pending_nmi, 0);
    request_init(vcpu);
    EXPECT_EQ(attend(vcpu), Attended::Halted);
    request_nmi(vcpu);
    EXPECT_EQ(attend(vcpu), Attended::Halted);
    request_start_up(vcpu, 0x12);
    EXPECT_EQ(attend(vcpu), Attended::Continue);
    EXPECT_EQ(vcpu.rip, 0u);
    EXPECT_EQ(vcpu.pending_nmi, 0);
}

}  // namespace
}  // namespace undercroft::test
