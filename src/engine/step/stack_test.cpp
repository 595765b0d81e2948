// SPDX-License-Identifier: Apache-2.0
#include "engine/step/testing.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

constexpr std::uint64_t top = StepMachine::stack;

TEST(StepStack, PushAndPop) {
    StepMachine m;
    m.reg(Gpr::Rax) = 0x1122334455667788;
    m.run({0x50});  // push rax
    EXPECT_EQ(m.reg(Gpr::Rsp), top - 8);
    EXPECT_EQ(m.get<std::uint64_t>(top - 8), 0x1122334455667788u);
    m.run({0x54});  // push rsp: the old value
    EXPECT_EQ(m.get<std::uint64_t>(top - 16), top - 8);
    m.run({0x66, 0x6a, 0xff});  // push word -1
    EXPECT_EQ(m.reg(Gpr::Rsp), top - 18);
    EXPECT_EQ(m.get<std::uint16_t>(top - 18), 0xffff);
    m.run({0x66, 0x5b});  // pop bx
    EXPECT_EQ(m.reg(Gpr::Rbx), 0xffffu);
    m.run({0x5c});  // pop rsp
    EXPECT_EQ(m.reg(Gpr::Rsp), top - 8);
    m.run({0x41, 0x5a});  // pop r10
    EXPECT_EQ(m.reg(Gpr::R10), 0x1122334455667788u);
    m.run({0x6a, 0x80});  // push -128
    EXPECT_EQ(m.get<std::uint64_t>(top - 8), ~0ull - 127);
}

TEST(StepStack, PopToMemoryUsesTheNewStackPointer) {
    StepMachine m;
    m.put<std::uint64_t>(top, 0x77);
    m.run({0x8f, 0x44, 0x24, 0x10});  // pop qword [rsp+16]
    EXPECT_EQ(m.get<std::uint64_t>(top + 8 + 16), 0x77u);
    EXPECT_EQ(m.reg(Gpr::Rsp), top + 8);
}

TEST(StepStack, FaultsLeaveTheStackPointer) {
    StepMachine m;
    m.vcpu.idtr.limit = 0xfff;
    m.put<std::uint64_t>(StepMachine::tss + 0x24, StepMachine::kernel_stack);  // IST1 for #PF
    m.put<std::uint64_t>(StepMachine::idt + 14 * 16,
                         m.get<std::uint64_t>(StepMachine::idt + 14 * 16) | 1ull << 32);
    m.unmap(StepMachine::data);
    m.reg(Gpr::Rsp) = StepMachine::data + 8;
    m.reg(Gpr::Rbx) = top;
    m.run({0xff, 0x33});  // push [rbx]
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.pushed(4), StepMachine::data + 8);
    EXPECT_EQ(m.pushed(0), PageFault::W);
    m.be_kernel();
    m.reg(Gpr::Rbx) = StepMachine::data;
    m.run({0x8f, 0x03});  // pop [rbx]
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.pushed(4), top);
}

TEST(StepStack, CallAndReturn) {
    StepMachine m;
    m.run({0xe8, 0x10, 0, 0, 0});  // call +16
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 0x15);
    EXPECT_EQ(m.get<std::uint64_t>(top - 8), StepMachine::code + 5);
    m.load({0xc2, 0x18, 0x00}, StepMachine::code + 0x15);  // ret 24
    m.step();
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 5);
    EXPECT_EQ(m.reg(Gpr::Rsp), top + 24);
    m.reg(Gpr::Rsp) = top;
    m.reg(Gpr::Rax) = 0x100;
    m.put<std::uint64_t>(StepMachine::data, 0x1234);
    m.run({0xff, 0x14, 0x25, 0, 0, 0x20, 0});  // call [data]
    EXPECT_EQ(m.vcpu.rip, 0x1234u);
    m.run({0xff, 0xe0});  // jmp rax
    EXPECT_EQ(m.vcpu.rip, 0x100u);
    m.reg(Gpr::Rax) = 1ull << 47;
    m.reg(Gpr::Rsp) = top;
    m.run({0xff, 0xd0});  // call rax: not canonical
    EXPECT_EQ(m.vector(), 13);
    EXPECT_EQ(m.pushed(1), StepMachine::code);
}

TEST(StepStack, EnterAndLeave) {
    StepMachine m;
    m.reg(Gpr::Rbp) = 0x5555;
    m.run({0xc8, 0x20, 0, 0});  // enter 32,0
    EXPECT_EQ(m.reg(Gpr::Rbp), top - 8);
    EXPECT_EQ(m.reg(Gpr::Rsp), top - 8 - 32);
    m.run({0xc9});  // leave
    EXPECT_EQ(m.reg(Gpr::Rbp), 0x5555u);
    EXPECT_EQ(m.reg(Gpr::Rsp), top);
    m.reg(Gpr::Rbp) = top + 0x100;
    m.put<std::uint64_t>(top + 0xf8, 0xaaaa);
    m.run({0xc8, 0x10, 0, 2});  // enter 16,2: one enclosing frame
    EXPECT_EQ(m.get<std::uint64_t>(top - 8), top + 0x100);
    EXPECT_EQ(m.get<std::uint64_t>(top - 16), 0xaaaau);
    EXPECT_EQ(m.get<std::uint64_t>(top - 24), top - 8);
    EXPECT_EQ(m.reg(Gpr::Rbp), top - 8);
    EXPECT_EQ(m.reg(Gpr::Rsp), top - 24 - 16);
}

TEST(StepStack, Flags) {
    StepMachine m;
    m.vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::CF | RFLAGS::OF | RFLAGS::IF | RFLAGS::ID);
    m.run({0x9c});  // pushfq
    EXPECT_EQ(m.get<std::uint64_t>(top - 8),
              RFLAGS::Fixed | RFLAGS::CF | RFLAGS::OF | RFLAGS::IF | RFLAGS::ID);
    m.put<std::uint64_t>(top - 8, RFLAGS::Fixed | RFLAGS::ZF | RFLAGS::DF);
    m.run({0x9d});  // popfq
    EXPECT_EQ(m.vcpu.rflags(), RFLAGS::Fixed | RFLAGS::ZF | RFLAGS::DF);
    EXPECT_EQ(m.reg(Gpr::Rsp), top);
}

}  // namespace
}  // namespace undercroft::test
