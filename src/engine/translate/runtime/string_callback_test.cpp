// SPDX-License-Identifier: Apache-2.0
// REP MOVS and REP STOS on pages that have no frame of their own.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"

#include <gtest/gtest.h>

namespace undercroft::translate {
namespace {

using test::StepMachine;

struct Strings : testing::Test {
    static constexpr std::uint64_t pfn = StepMachine::data >> 12;

    Strings() {
        for (unsigned vector = 0; vector < 256; ++vector)
            machine.put<std::uint8_t>(StepMachine::handlers + 16 * vector, 0xf4);
        machine.be_kernel();
        machine.vcpu.set_rflags(RFLAGS::Fixed);
    }
    // A string instruction, and HLT.
    void run(std::initializer_list<int> bytes) {
        machine.load(bytes);
        machine.mmu->flush_all();
        auto engine = TranslateEngine::create(machine.vcpu, {});
        ASSERT_TRUE(engine);
        EXPECT_EQ((*engine)->run(machine.vcpu), Exit::Halt);
    }
    void share_data() {
        machine.mmu->forget_frames();
        ASSERT_TRUE(machine.memory->become_shared(pfn));
    }
    std::uint8_t byte(std::uint64_t offset) { return machine.get<std::uint8_t>(StepMachine::data + offset); }

    StepMachine machine;
};

// The source's page gets its own frame as the target's, and has to be read from there.
TEST_F(Strings, SpreadWithinASharedPage) {
    for (unsigned n = 0; n < 4096; ++n)
        machine.put(StepMachine::data + n, static_cast<std::uint8_t>(n * 7 + 1));
    share_data();
    machine.reg(Gpr::Rsi) = StepMachine::data + 8;
    machine.reg(Gpr::Rdi) = StepMachine::data + 9;
    machine.reg(Gpr::Rcx) = 1000;
    run({0xf3, 0xa4, 0xf4});
    for (unsigned n = 0; n < 1000; ++n) ASSERT_EQ(byte(9 + n), 8 * 7 + 1) << n;
    EXPECT_EQ(byte(7), 7 * 7 + 1);
}

TEST_F(Strings, ZeroesTakeNoFrame) {
    machine.put(StepMachine::data + 5, std::uint8_t{9});
    share_data();
    machine.reg(Gpr::Rax) = 0xff00000000;  // of which 4 bytes are stored
    machine.reg(Gpr::Rdi) = StepMachine::data;
    machine.reg(Gpr::Rcx) = 1024;
    run({0xf3, 0xab, 0xf4});
    EXPECT_EQ(machine.memory->entry(pfn).state(), PageState::Zero);
    EXPECT_EQ(byte(5), 0);
    EXPECT_EQ(machine.reg(Gpr::Rdi), StepMachine::data + 4096);
    EXPECT_EQ(machine.reg(Gpr::Rcx), 0u);
}

TEST_F(Strings, OtherFillsDo) {
    machine.put(StepMachine::data + 5, std::uint8_t{9});
    share_data();
    machine.reg(Gpr::Rax) = 0x100;
    machine.reg(Gpr::Rdi) = StepMachine::data;
    machine.reg(Gpr::Rcx) = 512;
    run({0xf3, 0x48, 0xab, 0xf4});
    EXPECT_TRUE(machine.memory->entry(pfn).is_private());
    EXPECT_EQ(byte(1), 1);
    EXPECT_EQ(byte(4095 - 6), 1);
    EXPECT_EQ(byte(5), 0);
}

}  // namespace
}  // namespace undercroft::translate
