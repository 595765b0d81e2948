// SPDX-License-Identifier: Apache-2.0
// Lockstep finds a difference that was planted, where it was planted, and none where there is none.
#include "engine/lockstep/engine.hpp"

#include "engine/step/testing.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace undercroft {
namespace {

using test::StepMachine;

constexpr std::uint64_t add_at = StepMachine::code + 0xe;
constexpr std::uint64_t store_at = StepMachine::code + 0x12;

class Lockstep : public ::testing::Test {
protected:
    // Fills ten words from `data` + 8 up.
    void load_loop() {
        machine.load({0x48, 0xc7, 0xc0, 0,    0, 0, 0,  // mov rax, 0
                      0x48, 0xc7, 0xc1, 10,   0, 0, 0,  // mov rcx, 10
                      0x48, 0x83, 0xc0, 0x03,           // add rax, 3
                      0x48, 0x89, 0x04, 0xcf,           // mov [rdi + rcx*8], rax
                      0x48, 0xff, 0xc9,                 // dec rcx
                      0x75, 0xf3,                       // jnz: the add
                      0xf4});                           // hlt
        machine.reg(Gpr::Rdi) = StepMachine::data;
    }
    Exit run(const LockstepOptions& options = {}) {
        auto made = make_lockstep_engine(machine.vcpu, options);
        EXPECT_TRUE(made) << made.error().message;
        engine = *std::move(made);
        return engine->run(machine.vcpu);
    }
    bool says(const std::string& text) const { return engine->failure().find(text) != std::string::npos; }

    StepMachine machine;
    std::unique_ptr<Engine> engine;
};

std::string address(std::uint64_t rip) { return fmt::format("at rip {:#x}", rip); }

TEST_F(Lockstep, EnginesAgree) {
    for (std::uint64_t every : {0u, 1u, 5u, 1000u}) {
        load_loop();
        machine.vcpu.activity = Activity::Running;
        EXPECT_EQ(run({.every = every}), Exit::Halt) << engine->failure();
        EXPECT_EQ(machine.reg(Gpr::Rax), 30u);
        EXPECT_EQ(machine.get<std::uint64_t>(StepMachine::data + 80), 3u);
        engine.reset();
    }
}

TEST_F(Lockstep, CountsWhatWasExecuted) {
    load_loop();
    run();
    ASSERT_EQ(engine->statistics().front().first, "instructions in lockstep");
    EXPECT_EQ(engine->statistics().front().second, 2u + 10 * 4 + 1);
}

TEST_F(Lockstep, FindsAWrongRegister) {
    load_loop();
    EXPECT_EQ(run({.translate = {.broken_rip = add_at}}), Exit::Differ);
    EXPECT_TRUE(says("the engines differ: rax")) << engine->failure();
    EXPECT_TRUE(says(address(add_at))) << engine->failure();
    EXPECT_TRUE(says("add rax, 0x03")) << engine->failure();
}

TEST_F(Lockstep, FindsAMissingStore) {
    load_loop();
    EXPECT_EQ(run({.translate = {.broken_rip = store_at}}), Exit::Differ);
    EXPECT_TRUE(says("the engines differ: memory")) << engine->failure();
    EXPECT_TRUE(says(address(store_at))) << engine->failure();
    EXPECT_TRUE(says("first difference at 0x200050")) << engine->failure();
}

// In linked blocks, too, though only as exactly as they are compared.
TEST_F(Lockstep, FindsItInLinkedBlocks) {
    load_loop();
    EXPECT_EQ(run({.every = 12, .translate = {.broken_rip = add_at}}), Exit::Differ);
    EXPECT_TRUE(says("the engines differ: rax")) << engine->failure();
}

TEST_F(Lockstep, AnswersOfTheEnvironmentAreReplayed) {
    machine.load({0x0f, 0x31,                                // rdtsc
                  0x48, 0x89, 0xc3,                          // mov rbx, rax
                  0xe4, 0x71,                                // in al, 0x71
                  0xe6, 0x70,                                // out 0x70, al
                  0x0f, 0xc7, 0xf6,                          // rdrand esi
                  0x8b, 0x04, 0x25, 0x00, 0x00, 0x40, 0x00,  // mov eax, [device]
                  0xf4});
    EXPECT_EQ(run(), Exit::Halt) << engine->failure();
    EXPECT_EQ(machine.environment.port_writes.size(), 1u);
    EXPECT_EQ(machine.environment.reads.size(), 1u);
}

// Elements of repeated string instructions count one by one: a fault half way is met at the same one.
TEST_F(Lockstep, StringInstructionsFaultAtTheSameElement) {
    machine.load({0xf3, 0xaa, 0xf4});  // rep stosb; hlt
    machine.reg(Gpr::Rdi) = StepMachine::data + 100;
    machine.reg(Gpr::Rcx) = 3 * 4096;
    machine.unmap(StepMachine::data + 2 * 4096);
    machine.put<std::uint8_t>(StepMachine::handlers + 16 * 14, 0xf4);
    EXPECT_EQ(run(), Exit::Halt) << engine->failure();
    EXPECT_EQ(machine.vector(), 14);
    EXPECT_EQ(machine.reg(Gpr::Rcx), 3u * 4096 - (2 * 4096 - 100));
}

}  // namespace
}  // namespace undercroft
