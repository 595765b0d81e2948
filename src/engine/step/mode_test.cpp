// SPDX-License-Identifier: Apache-2.0
// 32-bit compatibility mode, protected and real mode.
#include "engine/step/testing.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

constexpr std::uint64_t data = StepMachine::data;

// Real mode, at segment:0 with code at 0x100000 out of reach: code goes to 0x40000.
void be_real(StepMachine& m) {
    reset(m.vcpu);
    m.vcpu.seg(SegmentName::CS).selector = 0x4000;
    m.vcpu.seg(SegmentName::CS).base = 0x40000;
    m.reg(Gpr::Rsp) = 0x8000;
}
StepResult run_real(StepMachine& m, std::initializer_list<int> bytes) {
    m.load(bytes, 0x40000);
    m.vcpu.rip = 0;
    return m.step();
}

TEST(StepMode, Compatibility32) {
    StepMachine m;
    m.be_user32();
    m.reg(Gpr::Rax) = 0xffffffff;
    m.run({0x40});  // inc eax
    EXPECT_EQ(m.reg(Gpr::Rax), 0u);
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 1);
    m.run({0x4c});  // dec esp
    EXPECT_EQ(m.reg(Gpr::Rsp), StepMachine::stack - 1);
    m.run({0x44});        // inc esp
    m.run({0x66, 0x4b});  // dec bx
    EXPECT_EQ(m.reg(Gpr::Rbx), 0xffffu);
    m.run({0x68, 0x44, 0x33, 0x22, 0x11});  // push imm32
    EXPECT_EQ(m.reg(Gpr::Rsp), StepMachine::stack - 4);
    EXPECT_EQ(m.get<std::uint32_t>(StepMachine::stack - 4), 0x11223344u);
    m.run({0x8b, 0x05, 0, 0, 0x20, 0});  // mov eax,[0x200000]: no rip-relative here
    EXPECT_EQ(m.reg(Gpr::Rax), m.get<std::uint32_t>(data));
    m.run({0x60});  // pusha
    EXPECT_EQ(m.reg(Gpr::Rsp), StepMachine::stack - 36);
    m.reg(Gpr::Rbx) = 0;
    m.run({0x61});  // popa
    EXPECT_EQ(m.reg(Gpr::Rbx), 0xffffu);
    m.reg(Gpr::Rcx) = 0xfffffff0;
    m.put<std::uint32_t>(data + 0x10, 99);
    m.run({0x8b, 0x81, 0x20, 0, 0x20, 0});  // mov eax,[ecx+0x200020]: wraps at 4 GiB
    EXPECT_EQ(m.reg(Gpr::Rax), 99u);
    m.run({0xd4, 0x0a});  // aam
    EXPECT_EQ(m.reg(Gpr::Rax), 0x909u);
    m.run({0xd4, 0x00});
    EXPECT_EQ(m.vector(), 0);
    EXPECT_EQ(m.pushed(1), StepMachine::user_code32);
}

TEST(StepMode, CompatibilityThreadStorage) {
    StepMachine m;
    m.be_user32();
    m.vcpu.seg(SegmentName::GS) = m.vcpu.seg(SegmentName::DS);
    m.vcpu.seg(SegmentName::GS).base = data;
    m.vcpu.seg(SegmentName::GS).limit = 0xff;
    m.put<std::uint32_t>(data + 0x10, 0x7777);
    m.run({0x65, 0xa1, 0x10, 0, 0, 0});  // mov eax,gs:[0x10]
    EXPECT_EQ(m.reg(Gpr::Rax), 0x7777u);
    m.run({0x65, 0x01, 0x05, 0xfc, 0, 0, 0});  // add gs:[0xfc],eax
    EXPECT_EQ(m.get<std::uint32_t>(data + 0xfc), 0x7777u);
    m.run({0x65, 0xa1, 0xfd, 0, 0, 0});  // past the limit
    EXPECT_EQ(m.vector(), 13);
}

TEST(StepMode, SystemCallInterruptOf32BitCode) {
    StepMachine m;
    m.be_user32();
    m.run({0xcd, 0x80});
    EXPECT_EQ(m.vector(), 0x80);
    EXPECT_TRUE(m.vcpu.code_64bit());
    m.load({0x48, 0xcf}, m.vcpu.rip);
    m.step();
    EXPECT_FALSE(m.vcpu.code_64bit());
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 2);
}

TEST(StepMode, RealMode) {
    StepMachine m;
    be_real(m);
    run_real(m, {0xb8, 0x34, 0x12});  // mov ax,0x1234
    EXPECT_EQ(m.reg(Gpr::Rax) & 0xffff, 0x1234u);
    EXPECT_EQ(m.vcpu.rip, 3u);
    run_real(m, {0x66, 0xb8, 1, 2, 3, 4});  // mov eax,0x04030201
    EXPECT_EQ(m.reg(Gpr::Rax), 0x04030201u);
    run_real(m, {0x66, 0x05, 1, 0, 0, 0});  // add eax,1
    EXPECT_EQ(m.reg(Gpr::Rax), 0x04030202u);
    run_real(m, {0x05, 0xff, 0xff});  // add ax,-1
    EXPECT_EQ(m.reg(Gpr::Rax), 0x04030201u);
    run_real(m, {0xb8, 0x00, 0x20});
    run_real(m, {0x8e, 0xd8});  // mov ds,ax
    EXPECT_EQ(m.vcpu.seg(SegmentName::DS).base, 0x20000u);
    m.put<std::uint16_t>(0x20000 + 0x55, 0xbeef);
    m.reg(Gpr::Rbx) = 0x50;
    m.reg(Gpr::Rsi) = 5;
    run_real(m, {0x8b, 0x08});  // mov cx,[bx+si]
    EXPECT_EQ(m.reg(Gpr::Rcx), 0xbeefu);
    run_real(m, {0x51});  // push cx
    EXPECT_EQ(m.get<std::uint16_t>(0x7ffe), 0xbeefu);
    run_real(m, {0x8c, 0xc8});  // mov ax,cs
    EXPECT_EQ(m.reg(Gpr::Rax) & 0xffff, 0x4000u);
    run_real(m, {0xea, 0x00, 0x01, 0x00, 0x50});  // jmp 0x5000:0x100
    EXPECT_EQ(m.vcpu.rip, 0x100u);
    EXPECT_EQ(m.vcpu.seg(SegmentName::CS).base, 0x50000u);
}

// The way of Linux's trampoline: GDT, protected mode, a far jump to 32-bit code, PAE and long mode, 64-bit
// code.
TEST(StepMode, FromRealToLongMode) {
    StepMachine m;
    be_real(m);
    m.put<std::uint16_t>(0x40100, 0x4f);
    m.put<std::uint32_t>(0x40102, StepMachine::gdt);
    m.load({0x2e, 0x66, 0x0f, 0x01, 0x16, 0x00, 0x01,         // lgdtl cs:[0x100]
            0x0f, 0x20, 0xc0,                                 // mov eax,cr0
            0x0c, 0x01,                                       // or al,1
            0x0f, 0x22, 0xc0,                                 // mov cr0,eax
            0x66, 0xea, 0x00, 0x02, 0x04, 0x00, 0x18, 0x00},  // ljmpl 0x18:0x40200
           0x40000);
    m.put<std::uint64_t>(StepMachine::gdt + 0x18, 0x00cf9b000000ffff);
    m.load({0xb8, 0x10, 0,    0,    0,    0x8e, 0xd8,                          // mov eax,0x10; mov ds,eax
            0x0f, 0x20, 0xe0, 0x0c, 0x20, 0x0f, 0x22, 0xe0,                    // cr4 |= PAE
            0xb8, 0x00, 0x10, 0,    0,    0x0f, 0x22, 0xd8,                    // cr3 = 0x1000
            0xb9, 0x80, 0,    0,    0xc0, 0x31, 0xd2,                          // ecx = EFER
            0xb8, 0x00, 0x01, 0,    0,    0x0f, 0x30,                          // LME
            0x0f, 0x20, 0xc0, 0x0d, 0,    0,    0,    0x80, 0x0f, 0x22, 0xc0,  // cr0 |= PG
            0xea, 0x00, 0x00, 0x10, 0x00, 0x08, 0x00},                         // ljmp 0x08:0x100000
           0x40200);
    m.load({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8});
    m.vcpu.rip = 0;
    for (int i = 0; i < 40 && m.vcpu.reg(Gpr::Rax) != 0x0807060504030201; i++)
        ASSERT_EQ(m.step(), StepResult::Done) << i;
    EXPECT_TRUE(m.vcpu.code_64bit());
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 10);
}

}  // namespace
}  // namespace undercroft::test
