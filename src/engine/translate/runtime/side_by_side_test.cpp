// SPDX-License-Identifier: Apache-2.0
// Accesses across pages that lie side by side in the host's memory: no sooner there than a processor is.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace undercroft::translate {
namespace {

using test::StepMachine;

constexpr std::uint64_t from = StepMachine::data;
constexpr std::uint64_t to = StepMachine::data + 0x8000;
constexpr unsigned page_count = 4;

// 1: mov rax, [rsi]; mov [rdi], rax; add rsi, 8; add rdi, 8; dec rcx; jne 1b; hlt
constexpr std::initializer_list<int> loop = {0x48, 0x8b, 0x06, 0x48, 0x89, 0x07, 0x48, 0x83, 0xc6, 0x08,
                                             0x48, 0x83, 0xc7, 0x08, 0x48, 0xff, 0xc9, 0x75, 0xed, 0xf4};
constexpr std::initializer_list<int> rep_movsq = {0xf3, 0x48, 0xa5, 0xf4};
constexpr std::initializer_list<int> rep_stosq = {0xf3, 0x48, 0xab, 0xf4};

std::uint8_t pattern(std::uint64_t n) { return static_cast<std::uint8_t>(n * 7 + (n >> 8) + 1); }

struct SideBySide : testing::Test {
    SideBySide() {
        for (unsigned vector = 0; vector < 256; ++vector)
            machine.put<std::uint8_t>(StepMachine::handlers + 16 * vector, 0xf4);
        machine.be_kernel();
        machine.vcpu.set_rflags(RFLAGS::Fixed);
        machine.reg(Gpr::Rax) = 0x0123456789abcdef;
    }
    // Pages get their frames in the order of their first writes.
    void touch(std::uint64_t page) { machine.put(page, std::uint8_t{0}); }
    void touch_all() {
        for (std::uint64_t start : {from, to})
            for (unsigned n = 0; n < page_count; ++n) touch(start + n * page_size);
        ASSERT_EQ(host(from) + page_size, host(from + page_size)) << "side by side";
    }
    void touch_backwards() {
        for (std::uint64_t start : {from, to})
            for (unsigned n = page_count; n-- > 0;) touch(start + n * page_size);
        ASSERT_NE(host(from) + page_size, host(from + page_size)) << "apart";
    }
    const std::byte* host(std::uint64_t page) { return machine.memory->readable(GuestPhysical{page}); }
    void fill() {
        for (std::uint64_t n = 0; n < page_count * page_size; ++n) {
            machine.put(from + n, pattern(n));
            machine.put(to + n, std::uint8_t{0});
        }
    }
    // Twice, so that the second time finds pages in the TLB.
    void run(std::initializer_list<int> code, std::uint64_t offset, std::uint64_t count) {
        if (engine == nullptr) {
            machine.load(code);
            machine.mmu->flush_all();
            engine = std::move(*TranslateEngine::create(machine.vcpu, {.trace_heat = 4}));
        }
        machine.vcpu.rip = StepMachine::code;
        machine.vcpu.activity = Activity::Running;
        machine.reg(Gpr::Rsi) = from + offset;
        machine.reg(Gpr::Rdi) = to + offset;
        machine.reg(Gpr::Rcx) = count;
        EXPECT_EQ(engine->run(machine.vcpu), Exit::Halt);
    }
    std::uint64_t statistic(std::string_view wanted) const {
        for (const auto& [name, value] : engine->statistics())
            if (name == wanted) return value;
        return 0;
    }
    void expect_copied(std::uint64_t offset, std::uint64_t bytes) {
        for (std::uint64_t n = 0; n < page_count * page_size; ++n) {
            bool copied = n >= offset && n < offset + bytes;
            ASSERT_EQ(machine.get<std::uint8_t>(to + n), copied ? pattern(n) : 0) << n;
        }
    }
    // The vCPU halted in the handler of a page fault, `elements` of 8 bytes after `offset`.
    void expect_fault(std::uint64_t address, std::uint64_t offset, std::uint64_t count,
                      std::uint64_t elements) {
        EXPECT_EQ((machine.vcpu.rip - 1 - StepMachine::handlers) / 16, 14u);
        EXPECT_EQ(machine.vcpu.cr2, address);
        EXPECT_EQ(machine.reg(Gpr::Rcx), count - elements);
        EXPECT_EQ(machine.reg(Gpr::Rsi), from + offset + 8 * elements);
        EXPECT_EQ(machine.reg(Gpr::Rdi), to + offset + 8 * elements);
    }

    StepMachine machine;
    std::unique_ptr<TranslateEngine> engine;
};

constexpr std::uint64_t odd = 0x804;                   // so that elements cross pages
constexpr std::uint64_t many = 2 * page_size / 8 + 9;  // elements, into the third page

// Elements up to the third page: the last of them crosses into it.
constexpr std::uint64_t third = 2 * page_size;
constexpr std::uint64_t up_to_third = (third - odd + 7) / 8;

class EachCopy : public SideBySide, public testing::WithParamInterface<bool> {
protected:
    static std::initializer_list<int> copy() { return GetParam() ? rep_movsq : loop; }
};
INSTANTIATE_TEST_SUITE_P(Loop, EachCopy, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(RepMovs, EachCopy, testing::Values(true));

TEST_P(EachCopy, WorksOnPagesSideBySide) {
    touch_all();
    for (unsigned time = 0; time < 3; ++time) {
        fill();
        run(copy(), odd, many);
        expect_copied(odd, 8 * many);
    }
}

TEST_P(EachCopy, WorksOnPagesApart) {
    touch_backwards();
    for (unsigned time = 0; time < 3; ++time) {
        fill();
        run(copy(), odd, many);
        expect_copied(odd, 8 * many);
    }
}

TEST_P(EachCopy, FaultsAtTheElementThatReachesAMissingPage) {
    touch_all();
    fill();
    run(copy(), odd, many);
    machine.unmap(to + third);
    run(copy(), odd, many);
    expect_fault(to + third, odd, many, up_to_third - 1);
    machine.map(to + third, PageEntry::P | PageEntry::US | PageEntry::A | PageEntry::D);
    run(copy(), odd, many);
    expect_fault(to + third, odd, many, up_to_third - 1);
}

TEST_P(EachCopy, LeavesADOfAPageThatItDoesNotReach) {
    constexpr std::uint64_t fresh = PageEntry::P | PageEntry::RW | PageEntry::US;
    touch_all();
    fill();
    run(copy(), odd, many);
    machine.map(to + third, fresh | PageEntry::A);
    machine.map(from + third, fresh);
    for (unsigned time = 0; time < 3; ++time) run(copy(), odd, up_to_third - 1);
    EXPECT_EQ(machine.page_entry(to + third) & PageEntry::D, 0u);
    EXPECT_EQ(machine.page_entry(from + third) & PageEntry::A, 0u);
    run(copy(), odd, up_to_third);
    EXPECT_NE(machine.page_entry(to + third) & PageEntry::D, 0u);
    EXPECT_NE(machine.page_entry(from + third) & PageEntry::A, 0u);
}

TEST_P(EachCopy, ChangesCode) {
    touch_all();
    fill();
    run(copy(), odd, many);
    auto mov_hlt = [&](std::uint64_t at, std::uint8_t value) {  // mov eax, value; hlt
        for (int byte : {0xb8, int{value}, 0, 0, 0, 0xf4}) machine.put(at++, static_cast<std::uint8_t>(byte));
    };
    mov_hlt(to + third, 1);
    auto execute = [&] {
        machine.vcpu.rip = to + third;
        machine.vcpu.activity = Activity::Running;
        EXPECT_EQ(engine->run(machine.vcpu), Exit::Halt);
        return machine.reg(Gpr::Rax);
    };
    EXPECT_EQ(execute(), 1u);
    mov_hlt(from + third, 2);
    run(copy(), odd, many);
    EXPECT_EQ(execute(), 2u);
}

// A loop crosses without variants of its block, once the TLB has the pages.
TEST_F(SideBySide, SparesLoopsTheirVariants) {
    auto blocks = [](SideBySide& guest) {
        guest.fill();
        guest.run(loop, 0, 1);
        for (std::uint64_t start : {from, to}) {
            for (unsigned n = 0; n < page_count; ++n) {
                Translation translation;
                Trap trap;
                EXPECT_TRUE(guest.machine.mmu->translate(GuestVirtual{start + n * page_size}, Access::Write,
                                                         AccessMode::SupervisorAc, translation, trap));
            }
        }
        guest.run(loop, odd, many);
        return guest.statistic("blocks translated");
    };
    struct : SideBySide {
        void TestBody() override {}
    } apart;
    touch_all();
    apart.touch_backwards();
    EXPECT_LT(blocks(*this), blocks(apart));
}

TEST_F(SideBySide, FillsAcross) {
    touch_all();
    for (unsigned time = 0; time < 2; ++time) {
        fill();
        run(rep_stosq, odd, many);
        EXPECT_EQ(machine.get<std::uint64_t>(to + odd - 8), 0u);
        for (std::uint64_t n = 0; n < many; ++n)
            ASSERT_EQ(machine.get<std::uint64_t>(to + odd + 8 * n), 0x0123456789abcdefu) << n;
        EXPECT_EQ(machine.get<std::uint64_t>(to + odd + 8 * many), 0u);
        EXPECT_EQ(machine.reg(Gpr::Rdi), to + odd + 8 * many);
    }
}

// A target closely behind its source gets the first elements again and again.
TEST_F(SideBySide, SpreadsAcross) {
    touch_all();
    for (unsigned time = 0; time < 2; ++time) {
        fill();
        machine.load(rep_movsq);
        run(rep_movsq, odd, 0);
        machine.vcpu.rip = StepMachine::code;
        machine.vcpu.activity = Activity::Running;
        machine.reg(Gpr::Rsi) = from + odd;
        machine.reg(Gpr::Rdi) = from + odd + 24;
        machine.reg(Gpr::Rcx) = many;
        EXPECT_EQ(engine->run(machine.vcpu), Exit::Halt);
        for (std::uint64_t n = 0; n < 8 * many + 24; ++n)
            ASSERT_EQ(machine.get<std::uint8_t>(from + odd + n), pattern(odd + n % 24)) << n;
    }
}

}  // namespace
}  // namespace undercroft::translate
