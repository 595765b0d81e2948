// SPDX-License-Identifier: Apache-2.0
// What user code and its kernel see when direct execution stops in between: the same as if it had not.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace undercroft::direct {
namespace {

using test::StepMachine;

constexpr std::uint64_t code = StepMachine::code;
constexpr std::uint64_t data = StepMachine::data;
constexpr std::size_t mxcsr = 24;  // in the XSAVE area

// A user program with Linux' selectors, executed directly until it is in a handler of its kernel's.
class Stops : public testing::Test {
protected:
    Stops() {
        for (unsigned vector = 0; vector < 256; ++vector)
            machine.put<std::uint8_t>(StepMachine::handlers + 16 * vector, 0xf4);
        machine.put(StepMachine::gdt + (user_data & ~7u), flat_data);
        machine.put(StepMachine::gdt + (user_code & ~7u), flat_code);
        auto made = TranslateEngine::create(machine.vcpu, {.direct = translate::DirectUse::Always});
        EXPECT_TRUE(made) << made.error().message;
        engine = std::move(*made);
    }

    void run(std::initializer_list<int> bytes) {
        machine.load(bytes);
        machine.code_pages.wrote(GuestPhysical{code}, bytes.size());
        machine.mmu->flush_all();
        Vcpu& vcpu = machine.vcpu;
        vcpu.cpl = 3;
        vcpu.activity = Activity::Running;
        for (Segment& segment : vcpu.segment) segment = Descriptor::expand(flat_data, 0);
        vcpu.seg(SegmentName::CS) = Descriptor::expand(flat_code, user_code);
        vcpu.seg(SegmentName::SS) = Descriptor::expand(flat_data, user_data);
        vcpu.reg(Gpr::Rsp) = StepMachine::stack;
        vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::IF);
        std::uint64_t before = stays();
        EXPECT_EQ(engine->run(vcpu), Exit::Halt);
        EXPECT_GT(stays(), before);
    }
    std::uint64_t stays() const {
        for (const auto& [name, count] : engine->statistics())
            if (name == "stays in direct execution") return count;
        return 0;
    }
    void expect_done() const { EXPECT_EQ(machine.vector(), 0x40); }
    std::uint64_t pushed_rflags() const { return machine.pushed(2); }

    static constexpr std::uint16_t user_data = 0x2b, user_code = 0x33;
    static constexpr std::uint64_t flat_code = 0x00affb000000ffff;
    static constexpr std::uint64_t flat_data = 0x00cff3000000ffff;

    StepMachine machine;
    std::unique_ptr<TranslateEngine> engine;
};

// The fault that stops the process sets RF; INT n pushes none.
TEST_F(Stops, ResumeFlag) {
    run({0xcd, 0x40});
    expect_done();
    EXPECT_EQ(pushed_rflags(), RFLAGS::Fixed | RFLAGS::IF);
}

TEST_F(Stops, MxcsrWithoutVectors) {
    constexpr std::uint32_t flush_to_zero = 0x9fc0;
    machine.vcpu.xsave = {};
    std::memcpy(machine.vcpu.xsave.data() + mxcsr, &flush_to_zero, sizeof flush_to_zero);
    machine.reg(Gpr::Rdi) = data;
    run({0x0f, 0xae, 0x1f, 0xcd, 0x40});  // stmxcsr [rdi]; int 0x40
    expect_done();
    EXPECT_EQ(machine.get<std::uint32_t>(data), flush_to_zero);
}

// What its registers hold then, ptrace(2) takes from nobody: they are to be kept while a page is mapped.
TEST_F(Stops, SelectorsAndBasesThatTheHostDoesNotTake) {
    machine.reg(Gpr::Rdi) = data;
    machine.put<std::uint8_t>(data, 42);
    run({0xb8, 1, 0, 0, 0, 0x8e, 0xc0, 0x8a, 0x0f, 0xcd, 0x40});  // mov eax, 1; mov es, eax; mov cl, [rdi]
    expect_done();
    EXPECT_EQ(machine.vcpu.seg(SegmentName::ES).selector, 1);
    EXPECT_EQ(machine.reg(Gpr::Rcx) & 0xff, 42u);
    machine.reg(Gpr::Rax) = 0xffff888000000000;
    machine.put<std::uint8_t>(data, 43);
    run({0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x8a, 0x0f, 0xcd, 0x40});  // wrgsbase rax; mov cl, [rdi]
    expect_done();
    EXPECT_EQ(machine.vcpu.seg(SegmentName::GS).base, 0xffff888000000000);
    EXPECT_EQ(machine.reg(Gpr::Rcx) & 0xff, 43u);
}

// Where the host lets nobody map.
TEST_F(Stops, LowPages) {
    machine.reg(Gpr::Rdi) = StepMachine::idt + 8;
    machine.reg(Gpr::Rsi) = data;
    run({0x8a, 0x06, 0x8a, 0x0f, 0xfe, 0x06, 0xcd, 0x40});  // mov al, [rsi]; mov cl, [rdi]; inc byte [rsi]
    expect_done();
    EXPECT_EQ(machine.reg(Gpr::Rcx) & 0xff, machine.get<std::uint8_t>(StepMachine::idt + 8));
}

// A fault of the guest's own comes to its kernel, and not again and again.
TEST_F(Stops, FaultsThatNoMappingMends) {
    machine.reg(Gpr::Rdi) = data;
    for (std::uint64_t rights :
         {std::uint64_t{0}, PageEntry::P | PageEntry::US, PageEntry::P | PageEntry::RW}) {
        machine.map(data, rights);
        run({0xfe, 0x07, 0xcd, 0x40});  // inc byte [rdi]; int 0x40
        EXPECT_EQ(machine.vector(), 14);
        EXPECT_EQ(machine.vcpu.cr2, data);
        EXPECT_EQ(machine.pushed(1), code);
    }
}

}  // namespace
}  // namespace undercroft::direct
