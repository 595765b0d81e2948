// SPDX-License-Identifier: Apache-2.0
// Guests that wait in loops: which ones are noticed, and that they wait no longer than they should.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace undercroft::translate {
namespace {

using test::StepMachine;

constexpr Options impatient{.spin_ticks = 0, .spin_again_ticks = 0, .pause_limit = 0};
constexpr std::uint64_t polled = StepMachine::data;

class Guest {
public:
    explicit Guest(std::initializer_list<int> code, const Options& options = impatient) {
        machine.be_kernel();
        machine.load(code);
        for (unsigned vector = 0; vector < 256; ++vector)
            machine.put<std::uint8_t>(StepMachine::handlers + 16 * vector, 0xf4);
        machine.vcpu.set_rflags(RFLAGS::Fixed);
        machine.reg(Gpr::Rax) = 0;
        machine.reg(Gpr::Rcx) = 1000;
        machine.reg(Gpr::Rdi) = polled;
        machine.mmu->flush_all();
        auto made = TranslateEngine::create(machine.vcpu, options);
        EXPECT_TRUE(made) << made.error().message;
        engine = std::move(*made);
    }
    Exit run() { return engine->run(machine.vcpu); }

    StepMachine machine;
    std::unique_ptr<TranslateEngine> engine;
};

TEST(Spin, AJumpToItself) {
    Guest guest{{0xeb, 0xfe}};  // 1: jmp 1b
    for (int n = 0; n < 3; ++n) {
        EXPECT_EQ(guest.run(), Exit::Spin);
        EXPECT_EQ(guest.machine.vcpu.rip, StepMachine::code);
    }
}

// 1: cmp dword [rdi], 0; je 1b; hlt
constexpr auto poll = {0x83, 0x3f, 0x00, 0x74, 0xfb, 0xf4};
// 1: pause; 2: cmp byte [rdi], 0; jne 3f; jmp 1b; 3: hlt
constexpr auto two_blocks = {0xf3, 0x90, 0x80, 0x3f, 0x00, 0x75, 0x02, 0xeb, 0xf7, 0xf4};
// jmp 2f; 1: pause; 2: mov eax, [rdi]; test eax, eax; je 1b; hlt
constexpr auto entered_in_the_middle = {0xeb, 0x02, 0xf3, 0x90, 0x8b, 0x07, 0x85, 0xc0, 0x74, 0xf8, 0xf4};

TEST(Spin, LoopsThatPollMemoryUntilItChanges) {
    for (const auto& code : {poll, two_blocks, entered_in_the_middle}) {
        Guest guest{code};
        EXPECT_EQ(guest.run(), Exit::Spin);
        EXPECT_EQ(guest.run(), Exit::Spin);
        std::uint64_t rip = guest.machine.vcpu.rip;
        EXPECT_TRUE(rip >= StepMachine::code && rip < StepMachine::code + code.size() - 1);
        guest.machine.put<std::uint32_t>(polled, 1);
        EXPECT_EQ(guest.run(), Exit::Halt);
        EXPECT_EQ(guest.machine.vcpu.rip, StepMachine::code + code.size());
    }
}

TEST(Spin, APollAcrossPages) {
    Guest guest{poll};
    guest.machine.reg(Gpr::Rdi) = polled + 0xffe;
    EXPECT_EQ(guest.run(), Exit::Spin);
    guest.machine.put<std::uint8_t>(polled + 0x1001, 1);
    EXPECT_EQ(guest.run(), Exit::Halt);
}

TEST(Spin, TheFlagsAreThoseOfTheLoop) {
    // 1: cmp dword [rdi], 5; mov ebx, eax; jb 1b; hlt
    Guest guest{{0x83, 0x3f, 0x05, 0x89, 0xc3, 0x72, 0xf9, 0xf4}};
    guest.machine.put<std::uint32_t>(polled, 4);
    EXPECT_EQ(guest.run(), Exit::Spin);
    guest.machine.put<std::uint32_t>(polled, 5);
    EXPECT_EQ(guest.run(), Exit::Halt);
    EXPECT_TRUE(guest.machine.flag(RFLAGS::ZF));
    EXPECT_FALSE(guest.machine.flag(RFLAGS::CF));
}

TEST(Spin, FlagsThatAreLiveAroundTheLoopSurvive) {
    // stc; 1: mov eax, [rdi]; jc 2f; hlt; 2: jmp 1b
    Guest guest{{0xf9, 0x8b, 0x07, 0x72, 0x01, 0xf4, 0xeb, 0xf9}};
    EXPECT_EQ(guest.run(), Exit::Spin);
    EXPECT_TRUE(guest.machine.flag(RFLAGS::CF));
    EXPECT_EQ(guest.run(), Exit::Spin);
    guest.machine.vcpu.set_rflags(RFLAGS::Fixed);
    EXPECT_EQ(guest.run(), Exit::Halt);
}

TEST(Spin, NotALoopThatCounts) {
    Guest guest{{0xff, 0xc9, 0x75, 0xfc, 0xf4}};  // 1: dec ecx; jne 1b; hlt
    EXPECT_EQ(guest.run(), Exit::Halt);
    EXPECT_EQ(guest.machine.reg(Gpr::Rcx), 0u);
}

// Its answers may differ each time: it is stepped.
TEST(Spin, NotALoopThatPollsADevice) {
    Guest guest{{0x83, 0x3f, 0x7f, 0x75, 0xfb, 0xf4}};  // 1: cmp dword [rdi], 127; jne 1b; hlt
    guest.machine.reg(Gpr::Rdi) = StepMachine::device;
    guest.machine.environment.device_value = 0;
    guest.machine.environment.device_step = 1;
    EXPECT_EQ(guest.run(), Exit::Halt);
    EXPECT_EQ(guest.machine.environment.reads.size(), 128u);
}

TEST(Spin, NotWhenInstructionsAreCounted) {
    Options options = impatient;
    options.counted = true;
    options.trace_heat = 64;  // and traces of eight rounds, which end with the limit
    Guest guest{{0xeb, 0xfe}, options};
    guest.engine->begin(guest.machine.vcpu);
    EngineFrame& frame = EngineFrame::of(guest.machine.vcpu);
    frame.instructions = 0;
    frame.instruction_limit = 1000;
    while (!frame.limit_reached()) guest.engine->advance(guest.machine.vcpu);
    guest.engine->end();
    EXPECT_EQ(frame.instructions, 1000);
}

// With patience, it takes more than one round; and what interrupts a wait ends it.
TEST(Spin, HasPatience) {
    // 1: cmp dword [rdi], 0; je 1b; mov dword [rdi], 0; dec ecx; jne 1b; hlt
    Guest guest{{0x83, 0x3f, 0x00, 0x74, 0xfb, 0xc7, 0x07, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf1, 0xf4},
                {.spin_ticks = 200'000, .spin_again_ticks = 100'000}};
    for (int n = 0; n < 5; ++n) {
        std::uint64_t begin = __builtin_ia32_rdtsc();
        EXPECT_EQ(guest.run(), Exit::Spin);
        EXPECT_GE(__builtin_ia32_rdtsc() - begin, 200'000u);
        begin = __builtin_ia32_rdtsc();
        EXPECT_EQ(guest.run(), Exit::Spin);
        EXPECT_GE(__builtin_ia32_rdtsc() - begin, 100'000u);
        guest.machine.put<std::uint32_t>(polled, 1);  // it waits anew
    }
    EXPECT_EQ(guest.machine.reg(Gpr::Rcx), 996u);
}

TEST(Spin, InterruptsAreTaken) {
    Guest guest{{0xeb, 0xfe}};
    guest.machine.environment.interrupt = 0x40;
    guest.machine.vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::IF);
    EXPECT_EQ(guest.run(), Exit::Spin);
    guest.machine.vcpu.request(Attention::Interrupt);
    EXPECT_EQ(guest.run(), Exit::Halt) << "in the handler";
    EXPECT_EQ(guest.machine.vcpu.rip, StepMachine::handlers + 16 * 0x40 + 1);
    EXPECT_EQ(guest.machine.pushed(0), StepMachine::code);
}

TEST(Spin, StopIsTaken) {
    Guest guest{{0xeb, 0xfe}};
    EXPECT_EQ(guest.run(), Exit::Spin);
    guest.machine.vcpu.request(Attention::Stop);
    EXPECT_EQ(guest.run(), Exit::Stop);
}

TEST(Spin, ALoopThatIsRewrittenEnds) {
    Guest guest{{0xeb, 0xfe, 0xf4}};
    EXPECT_EQ(guest.run(), Exit::Spin);
    guest.machine.put<std::uint8_t>(StepMachine::code, 0x90);  // nop; nop; hlt
    guest.machine.put<std::uint8_t>(StepMachine::code + 1, 0x90);
    guest.machine.code_pages.wrote(GuestPhysical{StepMachine::code}, 2);
    EXPECT_EQ(guest.run(), Exit::Halt);
}

TEST(Pause, LeavesEachSoManyTimes) {
    // 1: pause; inc eax; dec ecx; jne 1b; hlt
    Guest guest{{0xf3, 0x90, 0xff, 0xc0, 0xff, 0xc9, 0x75, 0xf8, 0xf4}, {.pause_limit = 100}};
    for (unsigned n = 1; n <= 10; ++n) {
        EXPECT_EQ(guest.run(), Exit::Pause);
        EXPECT_EQ(guest.machine.vcpu.rip, StepMachine::code + 2);
        EXPECT_EQ(guest.machine.reg(Gpr::Rax), 100 * n - 1);
    }
    EXPECT_EQ(guest.run(), Exit::Halt);
    EXPECT_EQ(guest.machine.reg(Gpr::Rax), 1000u);
}

TEST(Pause, WithRexBItIsAnExchange) {
    // xchg r8d, eax; hlt
    Guest guest{{0xf3, 0x41, 0x90, 0xf4}, {.pause_limit = 1}};
    guest.machine.reg(Gpr::R8) = 5;
    EXPECT_EQ(guest.run(), Exit::Halt);
    EXPECT_EQ(guest.machine.reg(Gpr::Rax), 5u);
}

}  // namespace
}  // namespace undercroft::translate
