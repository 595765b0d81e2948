// SPDX-License-Identifier: Apache-2.0
#include "engine/step/testing.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

TEST(StepMove, RegisterForms) {
    StepMachine m;
    m.reg(Gpr::Rax) = 0x1122334455667788;
    m.reg(Gpr::Rbx) = ~0ull;
    m.run({0x48, 0x89, 0xc3});  // mov rbx,rax
    EXPECT_EQ(m.reg(Gpr::Rbx), 0x1122334455667788u);
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 3);
    m.run({0x89, 0xc0});  // mov eax,eax
    EXPECT_EQ(m.reg(Gpr::Rax), 0x55667788u);
    m.run({0x88, 0xe3});  // mov bl,ah
    EXPECT_EQ(m.reg(Gpr::Rbx), 0x1122334455667777u);
    m.run({0xb4, 0x99});  // mov ah,0x99
    EXPECT_EQ(m.reg(Gpr::Rax), 0x55669988u);
    m.run({0x49, 0xc7, 0xc1, 0xff, 0xff, 0xff, 0xff});  // mov r9,-1
    EXPECT_EQ(m.reg(Gpr::R9), ~0ull);
    m.run({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8});  // movabs
    EXPECT_EQ(m.reg(Gpr::Rax), 0x0807060504030201u);
}

TEST(StepMove, MemoryForms) {
    StepMachine m;
    m.reg(Gpr::Rbp) = StepMachine::data;
    m.reg(Gpr::Rcx) = 0x10;
    m.put<std::uint64_t>(StepMachine::data + 0x48, 0xfedcba9876543210);
    m.run({0x48, 0x8b, 0x44, 0x8d, 0x08});  // mov rax,[rbp+rcx*4+8]
    EXPECT_EQ(m.reg(Gpr::Rax), 0xfedcba9876543210u);
    m.run({0x88, 0x65, 0x00});  // mov [rbp],ah
    EXPECT_EQ(m.get<std::uint8_t>(StepMachine::data), 0x32);
    m.run({0x48, 0x8b, 0x05, 0, 0, 0, 0});  // mov rax,[rip]
    EXPECT_EQ(m.reg(Gpr::Rax), m.get<std::uint64_t>(StepMachine::code + 7));
    m.run({0x48, 0x0f, 0xbe, 0x45, 0x4f});  // movsx rax,byte [rbp+0x4f]
    EXPECT_EQ(m.reg(Gpr::Rax), ~0ull - 1);
    m.run({0x48, 0x8d, 0x44, 0xcd, 0x01});  // lea rax,[rbp+rcx*8+1]
    EXPECT_EQ(m.reg(Gpr::Rax), StepMachine::data + 0x81);
    m.vcpu.seg(SegmentName::GS).base = StepMachine::data;
    m.run({0x65, 0x48, 0x8b, 0x04, 0x25, 0x48, 0, 0, 0});  // mov rax,gs:[0x48]
    EXPECT_EQ(m.reg(Gpr::Rax), 0xfedcba9876543210u);
    m.run({0x48, 0xa1, 0x48, 0, 0x20, 0, 0, 0, 0, 0});  // mov rax,[moffs]
    EXPECT_EQ(m.reg(Gpr::Rax), 0xfedcba9876543210u);
}

TEST(StepMove, CrossesPagesAndFaultsExactly) {
    StepMachine m;
    std::uint64_t border = StepMachine::data + 0x1000;
    m.put<std::uint64_t>(border - 4, 0x1122334455667788);
    m.reg(Gpr::Rbx) = border - 4;
    m.run({0x48, 0x8b, 0x03});  // mov rax,[rbx]
    EXPECT_EQ(m.reg(Gpr::Rax), 0x1122334455667788u);
    m.unmap(border);
    EXPECT_EQ(m.run({0x48, 0x89, 0x1b}), StepResult::Trapped);  // mov [rbx],rbx
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.vcpu.cr2, border);
    EXPECT_EQ(m.pushed(0), PageFault::W);
    EXPECT_EQ(m.pushed(1), StepMachine::code);
    EXPECT_EQ(m.get<std::uint32_t>(border - 4), 0x55667788u);
}

TEST(StepMove, NonCanonical) {
    StepMachine m;
    m.reg(Gpr::Rbx) = 0x8000000000000000;
    m.run({0x48, 0x8b, 0x03});  // mov rax,[rbx]
    EXPECT_EQ(m.vector(), 13);
    m.be_kernel();
    m.reg(Gpr::Rbp) = 0x8000000000000000;
    m.run({0x48, 0x8b, 0x45, 0});  // mov rax,[rbp]
    EXPECT_EQ(m.vector(), 12);
}

TEST(StepMove, DeviceMemoryOnce) {
    StepMachine m;
    m.reg(Gpr::Rbx) = StepMachine::device + 8;
    m.run({0x8b, 0x03});  // mov eax,[rbx]
    EXPECT_EQ(m.reg(Gpr::Rax), 0x44332211u);
    m.run({0x66, 0x89, 0x03});  // mov [rbx],ax
    m.run({0x01, 0x03});        // add [rbx],eax
    using Events = std::vector<RecordingEnvironment::Event>;
    EXPECT_EQ(m.environment.reads,
              (Events{{0x400008, 4, 0x8877665544332211}, {0x400008, 4, 0x8877665544332211}}));
    EXPECT_EQ(m.environment.writes, (Events{{0x400008, 2, 0x2211}, {0x400008, 4, 0x88664422}}));
}

TEST(StepMove, SegmentRegisters) {
    StepMachine m;
    m.reg(Gpr::Rax) = StepMachine::kernel_data;
    m.run({0x8e, 0xd0});  // mov ss,ax
    EXPECT_EQ(m.vcpu.interrupt_shadow, 1);
    m.run({0x48, 0x8c, 0xcb});  // mov rbx,cs
    EXPECT_EQ(m.vcpu.interrupt_shadow, 0);
    EXPECT_EQ(m.reg(Gpr::Rbx), StepMachine::kernel_code);
    m.reg(Gpr::Rax) = 0x48;
    m.run({0x8e, 0xd8});  // mov ds,ax: an empty descriptor
    EXPECT_EQ(m.vector(), 13);
    EXPECT_EQ(m.pushed(0), 0x48u);
}

}  // namespace
}  // namespace undercroft::test
