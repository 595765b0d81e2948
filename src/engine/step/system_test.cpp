// SPDX-License-Identifier: Apache-2.0
// System instructions, XSAVE, single stepping and breakpoints, gathers and masked moves.
#include "engine/step/testing.hpp"
#include "engine/step/vector_register.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

constexpr std::uint64_t data = StepMachine::data;

TEST(StepSystem, InterruptShadow) {
    StepMachine m;
    m.run({0xfa});  // cli
    m.run({0xfb});  // sti
    EXPECT_EQ(m.vcpu.interrupt_shadow, 1);
    EXPECT_EQ(m.vcpu.interrupt_flag, 1);
    m.run({0x90});
    EXPECT_EQ(m.vcpu.interrupt_shadow, 0);
    EXPECT_EQ(m.run({0xf4}), StepResult::Halted);
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 1);
    EXPECT_EQ(m.vcpu.activity, Activity::Halted);
}

void expect_privileged(std::initializer_list<int> bytes) {
    StepMachine m;
    m.be_user();
    m.run(bytes);
    EXPECT_EQ(m.vector(), 13) << *bytes.begin() << " " << bytes.size();
    EXPECT_EQ(m.pushed(2), StepMachine::user_code);
}

TEST(StepSystem, PrivilegeInUserMode) {
    expect_privileged({0xf4});              // hlt
    expect_privileged({0xfa});              // cli
    expect_privileged({0x0f, 0x22, 0xd8});  // mov cr3,rax
    expect_privileged({0x0f, 0x30});        // wrmsr
    expect_privileged({0x0f, 0x01, 0x13});  // lgdt
    expect_privileged({0xec});              // in al,dx
}

TEST(StepSystem, Ports) {
    StepMachine m;
    m.reg(Gpr::Rdx) = 0x3f8;
    m.reg(Gpr::Rax) = 0x1122334455667788;
    m.run({0xee});        // out dx,al
    m.run({0xe7, 0x80});  // out 0x80,eax
    using Events = std::vector<RecordingEnvironment::Event>;
    EXPECT_EQ(m.environment.port_writes, (Events{{0x3f8, 1, 0x88}, {0x80, 4, 0x55667788}}));
    m.run({0x66, 0xed});  // in ax,dx
    EXPECT_EQ(m.reg(Gpr::Rax), 0x1122334455662211u);
    m.run({0xed});  // in eax,dx
    EXPECT_EQ(m.reg(Gpr::Rax), 0x44332211u);
}

TEST(StepSystem, SoftwareInterruptAndReturn) {
    StepMachine m;
    m.be_user();
    m.run({0xcd, 0x80});
    EXPECT_EQ(m.vector(), 0x80);
    EXPECT_EQ(m.pushed(0), StepMachine::code + 2);
    EXPECT_EQ(m.vcpu.cpl, 0);
    m.load({0x48, 0xcf}, m.vcpu.rip);  // iretq
    m.step();
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 2);
    EXPECT_EQ(m.vcpu.cpl, 3);
    EXPECT_EQ(m.reg(Gpr::Rsp), StepMachine::stack);
    m.run({0xcc});
    EXPECT_EQ(m.vector(), 3);
    EXPECT_EQ(m.pushed(0), StepMachine::code + 1);
}

TEST(StepSystem, SystemCall) {
    StepMachine m;
    m.vcpu.star = std::uint64_t{StepMachine::kernel_code} << 32 | 0x1bull << 48;
    m.vcpu.lstar = 0x3000;
    m.vcpu.fmask = RFLAGS::IF | RFLAGS::TF;
    m.be_user();
    m.vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::IF);
    m.run({0x0f, 0x05});
    EXPECT_EQ(m.vcpu.rip, 0x3000u);
    EXPECT_EQ(m.reg(Gpr::Rcx), StepMachine::code + 2);
    EXPECT_EQ(m.vcpu.cpl, 0);
    m.load({0x48, 0x0f, 0x07}, 0x3000);
    m.step();
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 2);
    EXPECT_EQ(m.vcpu.cpl, 3);
    EXPECT_EQ(m.vcpu.interrupt_flag, 1);
}

TEST(StepSystem, DescriptorTables) {
    StepMachine m;
    m.reg(Gpr::Rbx) = data;
    m.run({0x0f, 0x01, 0x03});  // sgdt
    EXPECT_EQ(m.get<std::uint16_t>(data), 0x4f);
    EXPECT_EQ(m.get<std::uint64_t>(data + 2), StepMachine::gdt);
    m.put<std::uint16_t>(data, 0x123);
    m.run({0x0f, 0x01, 0x13});  // lgdt
    EXPECT_EQ(m.vcpu.gdtr.limit, 0x123);
    m.run({0x48, 0x0f, 0x00, 0xc9});  // str rcx
    EXPECT_EQ(m.reg(Gpr::Rcx), StepMachine::task);
    m.reg(Gpr::Rax) = StepMachine::kernel_code;
    m.run({0x48, 0x0f, 0x02, 0xc8});  // lar rcx,ax
    EXPECT_TRUE(m.flag(RFLAGS::ZF));
    EXPECT_EQ(m.reg(Gpr::Rcx) & 0xff00, 0x9b00u);
}

TEST(StepSystem, ControlRegistersAndBases) {
    StepMachine m;
    m.run({0x0f, 0x20, 0xd8});  // mov rax,cr3
    EXPECT_EQ(m.reg(Gpr::Rax), StepMachine::tables);
    m.run({0x0f, 0x22, 0xd8});  // mov cr3,rax
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 3);
    m.reg(Gpr::Rax) = 0x7fff12345678;
    m.run({0xf3, 0x48, 0x0f, 0xae, 0xd8});  // wrgsbase rax
    EXPECT_EQ(m.vcpu.seg(SegmentName::GS).base, 0x7fff12345678u);
    m.run({0x0f, 0x01, 0xf8});  // swapgs
    EXPECT_EQ(m.vcpu.kernel_gs_base, 0x7fff12345678u);
}

TEST(StepSystem, SingleStep) {
    StepMachine m;
    m.vcpu.system_flags |= RFLAGS::TF;
    m.run({0x90});
    EXPECT_EQ(m.vector(), 1);
    EXPECT_EQ(m.pushed(0), StepMachine::code + 1);
    EXPECT_EQ(m.vcpu.debug.dr6 & 1u << 14, 1u << 14);
    m.be_kernel();
    m.vcpu.system_flags |= RFLAGS::TF;
    m.reg(Gpr::Rax) = StepMachine::kernel_data;
    EXPECT_EQ(m.run({0x8e, 0xd0}), StepResult::Done);  // mov ss holds the trap back
    m.be_kernel();
    m.reg(Gpr::Rsi) = m.reg(Gpr::Rdi) = data;
    m.reg(Gpr::Rcx) = 5;
    m.run({0xf3, 0xa4});  // one element at a time
    EXPECT_EQ(m.vector(), 1);
    EXPECT_EQ(m.reg(Gpr::Rcx), 4u);
    EXPECT_EQ(m.pushed(0), StepMachine::code);
}

TEST(StepSystem, Breakpoints) {
    StepMachine m;
    m.vcpu.debug.address[0] = StepMachine::code;
    m.vcpu.debug.dr7 = 0x402;
    EXPECT_EQ(m.run({0x90}), StepResult::Trapped);
    EXPECT_EQ(m.vector(), 1);
    EXPECT_EQ(m.pushed(0), StepMachine::code);
    m.be_kernel();
    m.vcpu.system_flags |= RFLAGS::RF;
    EXPECT_EQ(m.run({0x90}), StepResult::Done);
    EXPECT_EQ(m.vcpu.system_flags & RFLAGS::RF, 0u);
    m.vcpu.debug.address[1] = data;
    m.vcpu.debug.dr7 = 0x408 | 0xdull << 20;  // 4 bytes, writes
    m.reg(Gpr::Rbx) = data + 3;
    EXPECT_EQ(m.run({0x8a, 0x03}), StepResult::Done);  // a read
    EXPECT_EQ(m.run({0x88, 0x03}), StepResult::Trapped);
    EXPECT_EQ(m.pushed(0), StepMachine::code + 2);
    EXPECT_EQ(m.vcpu.debug.dr6 & 15, 2u);
}

TEST(StepSystem, XsaveRoundTrip) {
    StepMachine m;
    m.reg(Gpr::Rax) = 0x0123456789abcdef;
    m.run({0x66, 0x48, 0x0f, 0x6e, 0xd8});        // movq xmm3,rax
    m.run({0xc4, 0xe3, 0x65, 0x18, 0xdb, 0x01});  // vinsertf128 ymm3,ymm3,xmm3,1
    m.reg(Gpr::Rbx) = data;
    m.reg(Gpr::Rax) = 7;
    m.reg(Gpr::Rdx) = 0;
    m.run({0x48, 0x0f, 0xae, 0x23});  // xsave64
    EXPECT_EQ(m.get<std::uint64_t>(data + 160 + 48), 0x0123456789abcdefu);
    EXPECT_EQ(m.get<std::uint64_t>(data + 576 + 48), 0x0123456789abcdefu);
    EXPECT_EQ(m.get<std::uint16_t>(data), 0x37f);
    m.run({0xc5, 0xfc, 0x77});  // vzeroall
    m.put<std::uint64_t>(data + 512, 6);
    m.run({0x48, 0x0f, 0xae, 0x2b});  // xrstor64
    EXPECT_EQ((VectorRegister{m.vcpu, 3}.element(2, 8)), 0x0123456789abcdefu);
    m.put<std::uint64_t>(data + 512, 8);
    m.run({0x48, 0x0f, 0xae, 0x2b});
    EXPECT_EQ(m.vector(), 13);
    m.be_kernel();
    m.put<std::uint64_t>(data + 512, 7);
    m.put<std::uint32_t>(data + 24, 0x80000000);
    m.run({0x48, 0x0f, 0xae, 0x2b});  // reserved bits of MXCSR
    EXPECT_EQ(m.vector(), 13);
    m.be_kernel();
    m.reg(Gpr::Rbx) = data + 32;
    m.run({0x48, 0x0f, 0xae, 0x23});
    EXPECT_EQ(m.vector(), 13);
    m.be_kernel();
    m.run({0x48, 0x0f, 0xae, 0x03});  // fxsave64 wants 16 only
    EXPECT_EQ(m.vector(), -1);
}

TEST(StepSystem, GatherKeepsProgress) {
    StepMachine m;
    m.run({0xc5, 0xfc, 0x77});  // vzeroall
    VectorRegister target{m.vcpu, 0};
    VectorRegister index{m.vcpu, 1};
    VectorRegister mask{m.vcpu, 2};
    for (unsigned i = 0; i < 8; i++) {
        m.put<std::uint32_t>(data + 8 * i, 0x1000 + i);
        index.set_element(i, 4, i == 5 ? 0x400 : 2 * i);
        mask.set_element(i, 4, i == 1 ? 0 : 0x80000000);
        target.set_element(i, 4, 0xdead);
    }
    m.unmap(data + 0x1000);
    m.reg(Gpr::Rbx) = data;
    m.run({0xc4, 0xe2, 0x6d, 0x90, 0x04, 0x8b});  // vpgatherdd ymm0,[rbx+ymm1*4],ymm2
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.vcpu.cr2, data + 0x1000);
    EXPECT_EQ(target.element(4, 4), 0x1004u);
    EXPECT_EQ(target.element(1, 4), 0xdeadu);
    EXPECT_EQ(target.element(6, 4), 0xdeadu);
    EXPECT_EQ(mask.element(4, 4), 0u);
    EXPECT_EQ(mask.element(5, 4), 0x80000000u);
    m.map(data + 0x1000, PageEntry::P | PageEntry::RW);
    m.be_kernel();
    EXPECT_EQ(m.step(), StepResult::Done);
    EXPECT_EQ(target.element(7, 4), 0x1007u);
    EXPECT_EQ(mask.element(7, 4), 0u);
}

TEST(StepSystem, MaskedMovesDoNotTouchWhatIsMasked) {
    StepMachine m;
    m.run({0xc5, 0xfc, 0x77});
    VectorRegister mask{m.vcpu, 1};
    mask.set_element(0, 4, 0x80000000);
    m.unmap(data + 0x1000);
    m.reg(Gpr::Rbx) = data + 0xffc;
    m.put<std::uint32_t>(data + 0xffc, 77);
    m.run({0xc4, 0xe2, 0x75, 0x2c, 0x03});  // vmaskmovps ymm0,ymm1,[rbx]
    EXPECT_EQ(m.vector(), -1);
    EXPECT_EQ((VectorRegister{m.vcpu, 0}.element(0, 4)), 77u);
    mask.set_element(1, 4, 0x80000000);
    m.run({0xc4, 0xe2, 0x75, 0x2e, 0x03});  // vmaskmovps [rbx],ymm1,ymm0
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.pushed(0), PageFault::W);
    m.be_kernel();
    m.vcpu.reg(Gpr::Rdi) = data;
    VectorRegister bytes{m.vcpu, 4};
    VectorRegister byte_mask{m.vcpu, 5};
    bytes.set_element(0, 8, 0x1122334455667788);
    byte_mask.set_element(0, 8, 0x0000008000000080);
    m.run({0x66, 0x0f, 0xf7, 0xe5});  // maskmovdqu xmm4,xmm5
    EXPECT_EQ(m.get<std::uint64_t>(data), 0x4400000088u);
}

TEST(StepSystem, MaskedMoveOfMmx) {
    StepMachine m;
    m.reg(Gpr::Rbx) = data;
    m.put<std::uint64_t>(data, 0x1122334455667788);
    m.put<std::uint64_t>(data + 8, 0x80000000000000ff);
    m.run({0x0f, 0x6f, 0x0b});        // movq mm1,[rbx]
    m.run({0x0f, 0x6f, 0x53, 0x08});  // movq mm2,[rbx+8]
    m.run({0xd9, 0xf7});              // fincstp
    m.reg(Gpr::Rdi) = data + 0x100;
    m.run({0x0f, 0xf7, 0xca});  // maskmovq mm1,mm2
    EXPECT_EQ(m.get<std::uint64_t>(data + 0x100), 0x1100000000000088u);
    m.run({0x0f, 0x7f, 0x4b, 0x20});  // movq [rbx+32],mm1
    EXPECT_EQ(m.get<std::uint64_t>(data + 0x20), 0x1122334455667788u);
    m.unmap(data + 0x1000);
    m.reg(Gpr::Rdi) = data + 0xffc;
    m.run({0x0f, 0xf7, 0xca});
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.get<std::uint8_t>(data + 0xffc), 0);
}

TEST(StepSystem, DebugTrapInstruction) {
    StepMachine m;
    m.be_user();
    m.run({0xf1});
    EXPECT_EQ(m.vector(), 1);
    EXPECT_EQ(m.pushed(0), StepMachine::code + 1);
}

}  // namespace
}  // namespace undercroft::test
