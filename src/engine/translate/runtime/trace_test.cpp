// SPDX-License-Identifier: Apache-2.0
// Which loops become traces, and when. What traces do is for tests/micro/traces.cpp.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace undercroft::translate {
namespace {

using test::StepMachine;

struct Result {
    std::uint64_t traces = 0;
    std::uint64_t rax = 0;
    std::uint64_t rcx = 0;
    std::uint64_t entries = 0;  // into translated code, from the run loop
};

Result run(std::initializer_list<int> code, std::uint64_t rcx, const Options& options = {}) {
    auto machine = std::make_unique<StepMachine>();
    std::uint64_t at = StepMachine::code;
    for (int byte : code) machine->put<std::uint8_t>(at++, static_cast<std::uint8_t>(byte));
    machine->be_kernel();
    machine->vcpu.set_rflags(RFLAGS::Fixed);
    machine->vcpu.reg(Gpr::Rax) = 0;
    machine->vcpu.reg(Gpr::Rcx) = rcx;
    machine->vcpu.reg(Gpr::Rbx) = StepMachine::code + 2;
    machine->mmu->flush_all();
    auto engine = make_translate_engine(machine->vcpu, options);
    EXPECT_TRUE(engine) << engine.error().message;
    EXPECT_EQ((*engine)->run(machine->vcpu), Exit::Halt);
    Result result{.rax = machine->vcpu.reg(Gpr::Rax), .rcx = machine->vcpu.reg(Gpr::Rcx)};
    for (const auto& [name, value] : (*engine)->statistics()) {
        if (name == "of them, traces of loops") result.traces = value;
        if (name == "entries into translated code") result.entries = value;
    }
    return result;
}

// 1: add rax, rcx; dec rcx; jne 1b; hlt
constexpr auto loop = {0x48, 0x01, 0xc8, 0x48, 0xff, 0xc9, 0x75, 0xf8, 0xf4};
// The same, with a call of its body: 1: call 2f; dec rcx; jne 1b; hlt; 2: add rax, rcx; ret
constexpr auto calling = {0xe8, 0x06, 0, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf6, 0xf4, 0x48, 0x01, 0xc8, 0xc3};

TEST(Trace, AHotLoopBecomesOne) {
    Result result = run(loop, 1000);
    EXPECT_EQ(result.traces, 1u);
    EXPECT_EQ(result.rax, 500500u);
    EXPECT_EQ(result.rcx, 0u);
}

TEST(Trace, AColdLoopDoesNot) {
    EXPECT_EQ(run(loop, 64, {.trace_heat = 64}).traces, 0u) << "its branch back was taken 63 times";
    EXPECT_EQ(run(loop, 65, {.trace_heat = 64}).traces, 1u);
}

TEST(Trace, RoundsAreCountedInTranslatedCode) {
    EXPECT_EQ(run(loop, 10'000, {.trace_heat = 20'000}).entries, 1u);
}

// 1: jmp rbx; dec rcx; jne 1b; hlt. Nothing of it is known beforehand behind the jump.
TEST(Trace, WhatCannotBecomeOneIsNoLongerCounted) {
    Result result = run({0xff, 0xe3, 0x48, 0xff, 0xc9, 0x75, 0xf9, 0xf4}, 1000, {.trace_heat = 10});
    EXPECT_EQ(result.traces, 0u);
    EXPECT_EQ(result.rcx, 0u);
    EXPECT_LT(result.entries, 5u);
}

TEST(Trace, NoneWithoutHeat) {
    Result result = run(loop, 1000, {.trace_heat = 0});
    EXPECT_EQ(result.traces, 0u);
    EXPECT_EQ(result.rax, 500500u);
}

TEST(Trace, EveryNumberOfRoundsLeavesInTheRightOne) {
    for (std::uint64_t rounds = 1; rounds < 40; ++rounds) {
        Result result = run(loop, rounds, {.trace_heat = 1});
        EXPECT_EQ(result.rax, rounds * (rounds + 1) / 2);
        EXPECT_EQ(run(calling, rounds, {.trace_heat = 1}).rax, result.rax);
    }
}

TEST(Trace, CountsWhatItExecutes) {
    for (const auto& code : {loop, calling}) {
        Result plain = run(code, 333, {.trace_heat = 0, .counted = true});
        Result trace = run(code, 333, {.trace_heat = 1, .counted = true});
        EXPECT_GT(trace.traces, 0u);
        EXPECT_EQ(trace.rax, plain.rax);
    }
}

}  // namespace
}  // namespace undercroft::translate
