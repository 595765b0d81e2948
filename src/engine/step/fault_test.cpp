// SPDX-License-Identifier: Apache-2.0
// Exceptions of instructions that run natively, and of decoding.
#include "engine/step/testing.hpp"
#include "engine/step/xsave_area.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

constexpr std::uint64_t data = StepMachine::data;

void set_mxcsr(StepMachine& m, std::uint32_t value) {
    std::memcpy(m.vcpu.xsave.data() + XsaveArea::mxcsr, &value, 4);
}
std::uint32_t mxcsr(const StepMachine& m) {
    std::uint32_t value;
    std::memcpy(&value, m.vcpu.xsave.data() + XsaveArea::mxcsr, 4);
    return value;
}

TEST(StepFault, ReadModifyWriteFaultsAsAWrite) {
    StepMachine m;
    m.map(data, PageEntry::P | PageEntry::US);
    m.reg(Gpr::Rbx) = data;
    m.reg(Gpr::Rax) = 7;
    m.run({0x48, 0x01, 0x03});  // add [rbx],rax
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.pushed(0), PageFault::P | PageFault::W);
    m.be_kernel();
    m.run({0x48, 0x3b, 0x03});  // cmp rax,[rbx]
    EXPECT_EQ(m.vector(), -1);
    m.unmap(data);
    m.be_user();
    m.run({0xf0, 0x48, 0x0f, 0xb1, 0x03});  // lock cmpxchg [rbx],rax
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.pushed(0), PageFault::W | PageFault::U);
    EXPECT_EQ(m.pushed(1), StepMachine::code);
}

TEST(StepFault, CrossingReadModifyWrite) {
    StepMachine m;
    m.reg(Gpr::Rbx) = data + 0xffc;
    m.put<std::uint64_t>(data + 0xffc, 0x00000000ffffffff);
    m.run({0x48, 0xff, 0x03});  // inc qword [rbx]
    EXPECT_EQ(m.get<std::uint64_t>(data + 0xffc), 0x100000000u);
    m.map(data + 0x1000, PageEntry::P);
    m.run({0x48, 0xff, 0x03});
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.vcpu.cr2, data + 0x1000);
    EXPECT_EQ(m.get<std::uint64_t>(data + 0xffc), 0x100000000u);
}

TEST(StepFault, DivideErrors) {
    StepMachine m;
    m.reg(Gpr::Rax) = 100;
    m.reg(Gpr::Rcx) = 7;
    m.run({0x48, 0xf7, 0xf1});  // div rcx
    EXPECT_EQ(m.reg(Gpr::Rax), 14u);
    EXPECT_EQ(m.reg(Gpr::Rdx), 2u);
    m.reg(Gpr::Rcx) = 2;
    m.run({0x48, 0xf7, 0xf1});  // quotient does not fit
    EXPECT_EQ(m.vector(), 0);
    EXPECT_EQ(m.reg(Gpr::Rdx), 2u);
    m.be_kernel();
    m.reg(Gpr::Rax) = 1ull << 63;
    m.reg(Gpr::Rdx) = ~0ull;
    m.reg(Gpr::Rcx) = ~0ull;
    m.run({0x48, 0xf7, 0xf9});  // idiv: -2^63 / -1
    EXPECT_EQ(m.vector(), 0);
    m.be_kernel();
    m.reg(Gpr::Rcx) = 1;
    m.run({0x48, 0xf7, 0xf9});
    EXPECT_EQ(m.reg(Gpr::Rax), 1ull << 63);
    m.reg(Gpr::Rax) = 0x8000;
    m.run({0xf6, 0xf9});  // idiv cl: -32768 / 1
    EXPECT_EQ(m.vector(), 0);
    m.be_kernel();
    m.put<std::uint32_t>(data, 0);
    m.reg(Gpr::Rbx) = data;
    m.run({0xf7, 0x33});  // div dword [rbx]
    EXPECT_EQ(m.vector(), 0);
}

TEST(StepFault, SimdExceptionIsDelivered) {
    StepMachine m;
    set_mxcsr(m, 0x1f80 & ~(1u << 9));  // divide by zero unmasked
    m.run({0x0f, 0x57, 0xc0});          // xorps xmm0,xmm0
    m.reg(Gpr::Rax) = 1;
    m.run({0xf3, 0x0f, 0x2a, 0xc8});  // cvtsi2ss xmm1,eax
    m.run({0xf3, 0x0f, 0x5e, 0xc8});  // divss xmm1,xmm0
    EXPECT_EQ(m.vector(), 19);
    EXPECT_EQ(mxcsr(m) & 0x3f, 4u);
    EXPECT_EQ(m.get<std::uint64_t>(m.reg(Gpr::Rsp)), StepMachine::code);
}

TEST(StepFault, X87ExceptionComesWithTheNextInstruction) {
    StepMachine m;
    m.run({0xdb, 0xe3});  // fninit
    m.reg(Gpr::Rbx) = data;
    m.put<std::uint16_t>(data, 0x37b);                 // zero divide unmasked
    m.run({0xd9, 0x2b});                               // fldcw
    m.run({0xd9, 0xe8});                               // fld1
    m.run({0xd9, 0xee});                               // fldz
    EXPECT_EQ(m.run({0xde, 0xf9}), StepResult::Done);  // fdivp: pending now
    std::uint64_t divide_at = StepMachine::code;
    m.load({0xd9, 0xe8}, StepMachine::code + 0x40);
    m.step();
    EXPECT_EQ(m.vector(), 16);
    EXPECT_EQ(m.pushed(0), StepMachine::code + 0x40);
    m.be_kernel();
    EXPECT_EQ(m.run({0xd9, 0x33}), StepResult::Done);  // fnstenv does not wait
    EXPECT_EQ(m.get<std::uint32_t>(data + 12), divide_at);
    EXPECT_EQ(m.get<std::uint16_t>(data + 4) & 0x84, 0x84);
}

TEST(StepFault, Alignment) {
    StepMachine m;
    m.reg(Gpr::Rbx) = data + 8;
    m.run({0x0f, 0x28, 0x03});  // movaps xmm0,[rbx]
    EXPECT_EQ(m.vector(), 13);
    m.be_kernel();
    m.run({0x0f, 0x58, 0x03});  // addps xmm0,[rbx]
    EXPECT_EQ(m.vector(), 13);
    m.be_kernel();
    m.run({0xc5, 0xf8, 0x58, 0x03});  // vaddps
    EXPECT_EQ(m.vector(), -1);
    m.run({0xc5, 0xfc, 0x28, 0x03});  // vmovaps ymm0,[rbx]
    EXPECT_EQ(m.vector(), 13);
    m.be_kernel();
    m.run({0x48, 0x0f, 0xc7, 0x0b});  // cmpxchg16b [rbx]
    EXPECT_EQ(m.vector(), 13);
}

TEST(StepFault, AlignmentCheck) {
    StepMachine m;
    m.be_user();
    m.vcpu.paging.cr0 |= CR0::AM;
    m.vcpu.system_flags |= RFLAGS::AC;
    m.reg(Gpr::Rbx) = data + 2;
    EXPECT_EQ(m.run({0x66, 0x8b, 0x03}), StepResult::Done);
    m.run({0x8b, 0x03});
    EXPECT_EQ(m.vector(), 17);
    EXPECT_EQ(m.pushed(0), 0u);
}

TEST(StepFault, DisabledUnits) {
    StepMachine m;
    m.vcpu.paging.cr0 |= CR0::TS;
    m.run({0x0f, 0x57, 0xc0});  // xorps
    EXPECT_EQ(m.vector(), 7);
    m.be_kernel();
    m.run({0xd9, 0xe8});  // fld1
    EXPECT_EQ(m.vector(), 7);
    m.be_kernel();
    m.vcpu.paging.cr0 &= ~CR0::TS;
    m.vcpu.xcr0 = XCR0::X87 | XCR0::SSE;
    m.run({0xc5, 0xf0, 0x57, 0xc0});  // vxorps
    EXPECT_EQ(m.vector(), 6);
    m.be_kernel();
    m.run({0xc4, 0xe2, 0xf1, 0xf7, 0xc3});  // shlx needs no AVX state
    EXPECT_EQ(m.vector(), -1);
    EXPECT_TRUE(m.environment.reports.empty());
}

TEST(StepFault, Undefined) {
    StepMachine m;
    m.run({0x0f, 0x0b});  // ud2
    EXPECT_EQ(m.vector(), 6);
    EXPECT_EQ(m.pushed(0), StepMachine::code);
    m.be_kernel();
    m.run({0xf0, 0x89, 0xc0});  // lock mov
    EXPECT_EQ(m.vector(), 6);
    m.be_kernel();
    m.run({0xf0, 0x01, 0xc0});  // lock add to a register
    EXPECT_EQ(m.vector(), 6);
    EXPECT_TRUE(m.environment.reports.empty());
    m.be_kernel();
    m.run({0x0f, 0x01, 0xd9});  // vmmcall
    EXPECT_EQ(m.vector(), 6);
    m.be_kernel();
    m.run({0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0});  // AVX-512
    EXPECT_EQ(m.vector(), 6);
    EXPECT_EQ(m.environment.reports.size(), 1u);
    EXPECT_EQ(m.executor.statistics().unknown, 1u);
}

TEST(StepFault, TooLong) {
    StepMachine m;
    m.run({0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90});
    EXPECT_EQ(m.vcpu.rip, StepMachine::code + 15);
    m.run({0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90});
    EXPECT_EQ(m.vector(), 13);
}

TEST(StepFault, InstructionAcrossPages) {
    StepMachine m;
    std::uint64_t border = StepMachine::code + 0x1000;
    m.load({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}, border - 4);
    m.step();
    EXPECT_EQ(m.reg(Gpr::Rax), 0x0807060504030201u);
    m.put<std::uint8_t>(border, 0x33);
    m.vcpu.rip = border - 4;
    m.step();
    EXPECT_EQ(m.reg(Gpr::Rax), 0x0807060504330201u);
    m.map(border, PageEntry::P | PageEntry::XD);
    m.vcpu.rip = border - 4;
    m.step();
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.vcpu.cr2, border);
    EXPECT_EQ(m.pushed(0), PageFault::P | PageFault::I);
    EXPECT_EQ(m.pushed(1), border - 4);
    m.be_kernel();
    m.load({0x90, 0x90}, border - 2);
    m.step();
    m.step();
    EXPECT_EQ(m.vcpu.rip, border);
    m.step();
    EXPECT_EQ(m.vcpu.cr2, border);
}

TEST(StepFault, CodeIsReadAgainWhenItChanges) {
    StepMachine m;
    m.run({0xb8, 1, 0, 0, 0});
    m.run({0xb8, 2, 0, 0, 0});
    EXPECT_EQ(m.reg(Gpr::Rax), 2u);
    m.vcpu.rip = 0x8000000000000000;
    m.step();
    EXPECT_EQ(m.vector(), 13);
    m.be_user();
    m.map(StepMachine::code, PageEntry::P);
    m.run({0x90});
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.pushed(0), PageFault::P | PageFault::U | PageFault::I);
}

TEST(StepFault, BitStringsReachFar) {
    StepMachine m;
    m.reg(Gpr::Rbx) = data + 0x2000;
    m.reg(Gpr::Rcx) = 0x1000 * 8 + 5;
    m.run({0xf0, 0x48, 0x0f, 0xab, 0x0b});  // lock bts [rbx],rcx
    EXPECT_EQ(m.get<std::uint8_t>(data + 0x3000), 0x20);
    EXPECT_FALSE(m.flag(RFLAGS::CF));
    m.reg(Gpr::Rcx) = ~std::uint64_t{0x1000 * 8 - 4};
    m.put<std::uint8_t>(data + 0x1000, 8);
    m.run({0x0f, 0xb3, 0x0b});  // btr [rbx],ecx
    EXPECT_TRUE(m.flag(RFLAGS::CF));
    EXPECT_EQ(m.get<std::uint8_t>(data + 0x1000), 0);
    m.unmap(data + 0x3000);
    m.reg(Gpr::Rcx) = 0x1000 * 8 + 64;
    m.run({0x48, 0x0f, 0xa3, 0x0b});  // bt
    EXPECT_EQ(m.vector(), 14);
    EXPECT_EQ(m.vcpu.cr2, data + 0x3008);
}

TEST(StepFault, StackPointerAsAValue) {
    StepMachine m;
    m.reg(Gpr::Rax) = 0x20;
    m.run({0x48, 0x01, 0xc4});  // add rsp,rax
    EXPECT_EQ(m.reg(Gpr::Rsp), StepMachine::stack + 0x20);
    m.run({0x48, 0x29, 0xe0});  // sub rax,rsp
    EXPECT_EQ(m.reg(Gpr::Rax), 0x20 - (StepMachine::stack + 0x20));
    m.run({0x48, 0x94});  // xchg rax,rsp
    EXPECT_EQ(m.reg(Gpr::Rax), StepMachine::stack + 0x20);
    m.run({0x48, 0x83, 0xe4, 0xf0});  // and rsp,-16
    EXPECT_EQ(m.reg(Gpr::Rsp) & 15, 0u);
    m.reg(Gpr::Rsp) = 0x1122;
    m.run({0x40, 0x80, 0xc4, 0xff});  // add spl,0xff
    EXPECT_EQ(m.reg(Gpr::Rsp), 0x1121u);
    m.run({0xc4, 0xe2, 0xf8, 0xf3, 0xcc});  // blsr rax,rsp
    EXPECT_EQ(m.reg(Gpr::Rax), 0x1120u);
}

}  // namespace
}  // namespace undercroft::test
