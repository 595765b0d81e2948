// SPDX-License-Identifier: Apache-2.0
// What is translated before control comes to it.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace undercroft::translate {
namespace {

using test::StepMachine;

std::uint64_t statistic(const Engine& engine, std::string_view wanted) {
    for (const auto& [name, value] : engine.statistics()) {
        if (name == wanted) return value;
    }
    ADD_FAILURE() << wanted;
    return 0;
}

class Ahead : public ::testing::Test {
protected:
    std::unique_ptr<Engine> run(std::initializer_list<int> code, const Options& options = {}) {
        machine_.load(code);
        machine_.vcpu.activity = Activity::Running;
        machine_.be_kernel();
        machine_.vcpu.set_rflags(RFLAGS::Fixed);
        machine_.mmu->flush_all();
        auto engine = std::move(*make_translate_engine(machine_.vcpu, options));
        EXPECT_EQ(engine->run(machine_.vcpu), Exit::Halt);
        return engine;
    }
    static std::uint64_t entries(const Engine& engine) {
        return statistic(engine, "entries into translated code");
    }

    StepMachine machine_;
};

TEST_F(Ahead, JumpsAndCallsAreFollowed) {
    std::initializer_list<int> code{0xeb, 0x01,              // jmp 1f
                                    0xf4,                    //
                                    0x90, 0xeb, 0x01,        // 1: nop; jmp 2f
                                    0xf4,                    //
                                    0xe8, 1,    0,    0, 0,  // 2: call 3f
                                    0xf4,                    //
                                    0xf4};                   // 3: hlt
    EXPECT_EQ(entries(*run(code)), 1u);
    EXPECT_EQ(entries(*run(code, {.chaining = false})), 3u);
}

TEST_F(Ahead, WhatIsCalledAgainComesBack) {
    std::initializer_list<int> code{0xe8, 11, 0, 0, 0,  // call 1f
                                    0xe8, 6,  0, 0, 0,  // call 1f
                                    0xe8, 1,  0, 0, 0,  // call 1f
                                    0xf4,               // hlt
                                    0xc3};              // 1: ret
    EXPECT_EQ(entries(*run(code)), 2u) << "the first return is not foreseen";
}

TEST_F(Ahead, ABranchThatMayGoEitherWayEndsIt) {
    std::initializer_list<int> code{0xeb, 0x00,   // jmp 1f
                                    0x31, 0xc0,   // 1: xor eax, eax
                                    0x75, 0x01,   // jne 2f
                                    0xf4,         // hlt
                                    0x90, 0xf4};  // 2: nop; hlt
    EXPECT_EQ(statistic(*run(code), "blocks translated"), 2u);
}

}  // namespace
}  // namespace undercroft::translate
