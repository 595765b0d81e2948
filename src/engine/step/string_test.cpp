// SPDX-License-Identifier: Apache-2.0
#include "engine/step/testing.hpp"

#include <gtest/gtest.h>

#include <string>

namespace undercroft::test {
namespace {

constexpr std::uint64_t source = StepMachine::data;
constexpr std::uint64_t target = StepMachine::data + 0x10000;

// Steps until RIP leaves the instruction; the number of steps.
unsigned finish(StepMachine& m, std::initializer_list<int> code) {
    m.load(code);
    unsigned steps = 0;
    do {
        if (m.step() != StepResult::Done) break;
        steps++;
    } while (m.vcpu.rip == StepMachine::code && steps < 10000);
    return steps;
}

void fill(StepMachine& m, std::uint64_t at, std::size_t size) {
    for (std::size_t i = 0; i < size; i++) m.put<std::uint8_t>(at + i, static_cast<std::uint8_t>(i * 7 + 3));
}
std::string text(const StepMachine& m, std::uint64_t at, std::size_t size) {
    std::string result;
    for (std::size_t i = 0; i < size; i++) result += static_cast<char>(m.get<std::uint8_t>(at + i));
    return result;
}

void aim(StepMachine& m, std::uint64_t from, std::uint64_t to, std::uint64_t count) {
    m.reg(Gpr::Rsi) = from;
    m.reg(Gpr::Rdi) = to;
    m.reg(Gpr::Rcx) = count;
}

TEST(StepString, RepeatedMoveInChunks) {
    StepMachine m;
    fill(m, source, 0x4000);
    aim(m, source + 5, target + 9, 0x3000);
    unsigned steps = finish(m, {0xf3, 0xa4});  // rep movsb
    EXPECT_GT(steps, 3u);
    EXPECT_LT(steps, 12u);
    EXPECT_EQ(text(m, source + 5, 0x3000), text(m, target + 9, 0x3000));
    EXPECT_EQ(m.reg(Gpr::Rcx), 0u);
    EXPECT_EQ(m.reg(Gpr::Rsi), source + 5 + 0x3000);
    EXPECT_EQ(m.reg(Gpr::Rdi), target + 9 + 0x3000);
}

TEST(StepString, MoveOfOddQuadwordsAcrossPages) {
    StepMachine m;
    fill(m, source, 0x4000);
    aim(m, source + 3, target + 0xffd, 0x300);
    finish(m, {0xf3, 0x48, 0xa5});  // rep movsq
    EXPECT_EQ(text(m, source + 3, 0x1800), text(m, target + 0xffd, 0x1800));
}

TEST(StepString, OverlappingMoveFills) {
    StepMachine m;
    m.put<std::uint16_t>(source, 0x4241);
    aim(m, source, source + 2, 10);
    finish(m, {0xf3, 0xa4});
    EXPECT_EQ(text(m, source, 12), "ABABABABABAB");
}

TEST(StepString, Backwards) {
    StepMachine m;
    fill(m, source, 64);
    m.vcpu.system_flags |= RFLAGS::DF;
    aim(m, source + 60, target + 60, 16);
    finish(m, {0xf3, 0xa5});  // rep movsd
    EXPECT_EQ(text(m, source, 64), text(m, target, 64));
    EXPECT_EQ(m.reg(Gpr::Rdi), target - 4);
}

TEST(StepString, FaultsKeepProgress) {
    StepMachine m;
    m.unmap(target + 0x1000);
    aim(m, source, target + 0xff0, 0x20);
    m.load({0xf3, 0xa4});
    EXPECT_EQ(m.step(), StepResult::Done);
    EXPECT_EQ(m.vcpu.rip, StepMachine::code);
    EXPECT_EQ(m.step(), StepResult::Trapped);
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.reg(Gpr::Rcx), 0x10u);
    EXPECT_EQ(m.reg(Gpr::Rdi), target + 0x1000);
    EXPECT_EQ(m.vcpu.cr2, target + 0x1000);
    EXPECT_EQ(m.pushed(1), StepMachine::code);
}

TEST(StepString, StoreAndZeroCount) {
    StepMachine m;
    m.reg(Gpr::Rax) = 0x1122334455667788;
    aim(m, 0, target + 1, 0x401);
    finish(m, {0xf3, 0x48, 0xab});  // rep stosq
    for (std::uint64_t i = 0; i < 0x401; i++)
        ASSERT_EQ(m.get<std::uint64_t>(target + 1 + 8 * i), 0x1122334455667788u);
    m.unmap(target);
    aim(m, 0, target, 0);
    EXPECT_EQ(finish(m, {0xf3, 0xaa}), 1u);
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 2);
}

TEST(StepString, CompareAndScan) {
    StepMachine m;
    fill(m, source, 100);
    fill(m, target, 100);
    m.put<std::uint8_t>(target + 50, 0xee);
    aim(m, source, target, 100);
    finish(m, {0xf3, 0xa6});  // repe cmpsb
    EXPECT_EQ(m.reg(Gpr::Rcx), 49u);
    EXPECT_FALSE(m.flag(RFLAGS::ZF));
    m.reg(Gpr::Rax) = 0xee;
    aim(m, 0, target, 100);
    finish(m, {0xf2, 0xae});  // repne scasb
    EXPECT_EQ(m.reg(Gpr::Rdi), target + 51);
    EXPECT_TRUE(m.flag(RFLAGS::ZF));
}

TEST(StepString, AddressSize32) {
    StepMachine m;
    fill(m, source, 16);
    aim(m, source | 1ull << 40, target | 1ull << 40, 8 | 1ull << 40);
    finish(m, {0xf3, 0x67, 0xa4});
    EXPECT_EQ(text(m, source, 8), text(m, target, 8));
    EXPECT_EQ(m.reg(Gpr::Rcx), 0u);
    EXPECT_EQ(m.reg(Gpr::Rsi), source + 8);
}

TEST(StepString, DeviceAndPorts) {
    StepMachine m;
    aim(m, source, StepMachine::device, 3);
    finish(m, {0xf3, 0xa5});
    ASSERT_EQ(m.environment.writes.size(), 3u);
    EXPECT_EQ(m.environment.writes[2].address, StepMachine::device + 8);
    fill(m, source, 4);
    aim(m, source, target, 4);
    m.reg(Gpr::Rdx) = 0x3f8;
    finish(m, {0xf3, 0x6e});  // rep outsb
    ASSERT_EQ(m.environment.port_writes.size(), 4u);
    EXPECT_EQ(m.environment.port_writes[1].value, 10u);
    aim(m, source, target, 2);
    finish(m, {0xf3, 0x66, 0x6d});  // rep insw
    EXPECT_EQ(m.get<std::uint32_t>(target), 0x22112211u);
}

TEST(StepString, SegmentOverride) {
    StepMachine m;
    m.vcpu.seg(SegmentName::GS).base = 0x1000;
    m.put<std::uint8_t>(source + 0x1000, 0x5a);
    aim(m, source, target, 1);
    m.run({0x65, 0xa4});  // gs movsb
    EXPECT_EQ(m.get<std::uint8_t>(target), 0x5a);
}

}  // namespace
}  // namespace undercroft::test
