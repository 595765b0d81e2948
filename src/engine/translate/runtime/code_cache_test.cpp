// SPDX-License-Identifier: Apache-2.0
// A code cache that fills up again and again: everything is forgotten, and execution goes on as if nothing
// had happened.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"

#include <gtest/gtest.h>

#include <random>

namespace undercroft::translate {
namespace {

using test::StepMachine;

// A guest program of many blocks: routines of some arithmetic on rax and memory, called in a random order
// through a table, again and again; some of them rewritten in between.
class Program {
public:
    static constexpr unsigned routine_count = 1500;
    static constexpr std::uint64_t routines = 0x210000, table = 0x300000, order = 0x310000,
                                   counter = 0x200100;
    static constexpr unsigned calls = 12000;

    explicit Program(StepMachine& machine) : machine_{machine} {
        for (unsigned n = 0; n < routine_count; ++n) {
            at_ = routines + n * 512ull;
            machine.put<std::uint64_t>(table + 8 * n, at_);
            routine();
        }
        for (unsigned n = 0; n < calls; ++n)
            machine.put<std::uint32_t>(order + 4 * n, static_cast<std::uint32_t>(random_() % routine_count));
        at_ = StepMachine::code;
        // mov esi, order; mov ecx, calls
        bytes({0xbe});
        value(static_cast<std::uint32_t>(order));
        bytes({0xb9});
        value(std::uint32_t{calls});
        // 1: mov edx, [rsi]; call [rdx*8 + table]; add esi, 4; dec ecx; jnz 1b; hlt
        bytes({0x8b, 0x16, 0xff, 0x14, 0xd5});
        value(static_cast<std::uint32_t>(table));
        bytes({0x83, 0xc6, 0x04, 0xff, 0xc9, 0x75, 0xf0, 0xf4});
        for (unsigned vector = 0; vector < 256; ++vector)
            machine.put<std::uint8_t>(StepMachine::handlers + 16 * vector, 0xf4);
        machine.be_kernel();
        machine.vcpu.set_rflags(RFLAGS::Fixed);
        machine.vcpu.reg(Gpr::Rdi) = counter;
        machine.mmu->flush_all();
    }

private:
    void bytes(std::initializer_list<int> list) {
        for (int byte : list) machine_.put<std::uint8_t>(at_++, static_cast<std::uint8_t>(byte));
    }
    template <class T>
    void value(T number) {
        machine_.put<T>(at_, number);
        at_ += sizeof(T);
    }
    void routine() {
        auto pieces = static_cast<unsigned>(4 + random_() % 12);
        for (unsigned n = 0; n < pieces; ++n) {
            switch (random_() % 5) {
                case 0:
                    bytes({0x48, 0x05}), value(static_cast<std::uint32_t>(random_()));
                    break;  // add rax, imm
                case 1:
                    bytes({0x48, 0x35}), value(static_cast<std::uint32_t>(random_()));
                    break;  // xor rax, imm
                case 2:
                    bytes({0x48, 0x03, 0x07, 0x48, 0x89, 0x47, 0x08});
                    break;  // add rax, [rdi]; mov [rdi+8], rax
                case 3: bytes({0x48, 0xff, 0x07, 0x48, 0xd3, 0xc0}); break;  // inc qword [rdi]; rol rax, cl
                default: bytes({0x72, 0x03, 0x48, 0xff, 0xc0}); break;       // jc +3; inc rax
            }
        }
        // Rewrites the immediate of an instruction that this routine ends with, to another at each call.
        bytes({0x89, 0x0d}), value(std::uint32_t{2});  // mov [rip + 2], ecx
        bytes({0x48, 0x05}), value(std::uint32_t{0});  // add rax, (ecx)
        bytes({0xc3});
    }

    StepMachine& machine_;
    std::mt19937_64 random_{7};
    std::uint64_t at_ = 0;
};

std::uint64_t statistic(const Engine& engine, const std::string& name) {
    for (const auto& [key, value] : engine.statistics()) {
        if (key == name) return value;
    }
    ADD_FAILURE() << "no statistic " << name;
    return 0;
}

struct Result {
    std::array<std::uint64_t, 16> registers;
    std::uint64_t flags, first, second, flushes;
};

Result run(const Options& options) {
    auto machine = std::make_unique<StepMachine>();
    Program program{*machine};
    auto engine = make_translate_engine(machine->vcpu, options);
    EXPECT_TRUE(engine) << engine.error().message;
    EXPECT_EQ((*engine)->run(machine->vcpu), Exit::Halt);
    return {machine->vcpu.gpr, machine->vcpu.rflags(), machine->get<std::uint64_t>(Program::counter),
            machine->get<std::uint64_t>(Program::counter + 8), statistic(**engine, "code cache flushes")};
}

void expect_same(const Result& a, const Result& b) {
    EXPECT_EQ(a.registers, b.registers);
    EXPECT_EQ(a.flags, b.flags);
    EXPECT_EQ(a.first, b.first);
    EXPECT_EQ(a.second, b.second);
}

TEST(CodeCache, FillsUpAndGoesOn) {
    Result roomy = run({});
    EXPECT_EQ(roomy.flushes, 0u);
    EXPECT_GT(roomy.first, 0u);
    Result little_code = run({.code_bytes = 224 * 1024});
    EXPECT_GT(little_code.flushes, 20u);
    expect_same(little_code, roomy);
    Result few_records = run({.record_bytes = 128 * 1024});
    EXPECT_GT(few_records.flushes, 20u);
    expect_same(few_records, roomy);
    Result unmerged = run({.merging = false, .code_bytes = 256 * 1024});
    EXPECT_GT(unmerged.flushes, 10u);
    expect_same(unmerged, roomy);
}

TEST(CodeCache, RefusesASizeForLessThanABlock) {
    auto machine = std::make_unique<StepMachine>();
    auto engine = make_translate_engine(machine->vcpu, {.code_bytes = 4096});
    ASSERT_FALSE(engine);
    EXPECT_NE(engine.error().message.find("code cache"), std::string::npos);
}

}  // namespace
}  // namespace undercroft::translate
