// SPDX-License-Identifier: Apache-2.0
// REP MOVS and REP STOS within a page, at its borders, and with counts that reach beyond anything.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace undercroft::translate {
namespace {

using test::StepMachine;

constexpr std::uint64_t from = StepMachine::data;
constexpr std::uint64_t to = StepMachine::data + 0x4000;
constexpr std::uint64_t area = 2 * page_size;  // around the page in the middle: half of its neighbours

enum class What : std::uint8_t { Movs, Stos };

struct Guest {
    explicit Guest(const Options& options = {}) {
        for (unsigned vector = 0; vector < 256; ++vector)
            machine.put<std::uint8_t>(StepMachine::handlers + 16 * vector, 0xf4);
        machine.be_kernel();
        machine.mmu->flush_all();
        engine = std::move(*TranslateEngine::create(machine.vcpu, options));
    }
    // The instruction between `cmp r8, 1` and `setb dl; adc r10, r11; hlt`: nothing else may have changed.
    void run(What what, unsigned width, std::uint64_t source, std::uint64_t target, std::uint64_t count) {
        std::vector<int> code{0x49, 0x83, 0xf8, 0x01};
        if (width == 2) code.push_back(0x66);
        code.push_back(0xf3);
        if (width == 8) code.push_back(0x48);
        code.push_back((what == What::Movs ? 0xa4 : 0xaa) | (width == 1 ? 0 : 1));
        for (int byte : {0x0f, 0x92, 0xc2, 0x4d, 0x11, 0xda, 0xf4}) code.push_back(byte);
        for (std::size_t n = 0; n < code.size(); ++n)
            machine.put(code_at + n, static_cast<std::uint8_t>(code[n]));
        machine.vcpu.rip = code_at;
        code_at += 64;
        machine.vcpu.set_rflags(RFLAGS::Fixed);
        machine.vcpu.activity = Activity::Running;
        machine.reg(Gpr::Rax) = value;
        machine.reg(Gpr::Rsi) = source;
        machine.reg(Gpr::Rdi) = target;
        machine.reg(Gpr::Rcx) = count;
        machine.reg(Gpr::R8) = 0;
        machine.reg(Gpr::R10) = 1000;
        machine.reg(Gpr::R11) = 100;
        EXPECT_EQ(engine->run(machine.vcpu), Exit::Halt);
    }
    void expect_done(What what, unsigned width, std::uint64_t source, std::uint64_t target,
                     std::uint64_t count) {
        EXPECT_EQ(machine.reg(Gpr::Rcx), 0u);
        EXPECT_EQ(machine.reg(Gpr::Rdi), target + count * width);
        EXPECT_EQ(machine.reg(Gpr::Rsi), what == What::Movs ? source + count * width : source);
        EXPECT_EQ(machine.reg(Gpr::Rdx) & 0xff, 1u) << "CF";
        EXPECT_EQ(machine.reg(Gpr::R10), 1101u);
        EXPECT_EQ(machine.reg(Gpr::R11), 100u);
    }

    static constexpr std::uint64_t value = 0x8877665544332211;
    StepMachine machine;
    std::unique_ptr<TranslateEngine> engine;
    std::uint64_t code_at = StepMachine::code;
};

std::uint8_t pattern(std::uint64_t n) { return static_cast<std::uint8_t>(n * 13 + (n >> 8) + 1); }

void fill(Guest& guest) {
    for (std::uint64_t n = 0; n < area; ++n) {
        guest.machine.put(from + n, pattern(n));
        guest.machine.put(to + n, std::uint8_t{0});
    }
}

// Each time twice: the first brings the pages into the TLB.
void expect_right(Guest& guest, What what, unsigned width, std::uint64_t offset, std::uint64_t count) {
    std::uint64_t source = from + offset / 2;  // in other places of their pages
    for (unsigned time = 0; time < 2; ++time) {
        fill(guest);
        guest.run(what, width, source, to + offset, count);
        guest.expect_done(what, width, source, to + offset, count);
        for (std::uint64_t n = 0; n < area; ++n) {
            bool written = n >= offset && n < offset + count * width;
            std::uint64_t in_element = (n - offset) % width;
            int expected = !written             ? 0
                           : what == What::Movs ? pattern(offset / 2 + n - offset)
                                                : static_cast<int>(Guest::value >> 8 * in_element & 0xff);
            ASSERT_EQ(guest.machine.get<std::uint8_t>(to + n), expected)
                << n << ": " << count << " of " << width << " at " << offset;
        }
    }
}

TEST(String, EndsWhereItShouldAtAPagesEnd) {
    Guest guest;
    for (What what : {What::Movs, What::Stos}) {
        for (unsigned width : {1u, 2u, 4u, 8u}) {
            for (std::uint64_t offset : {0ull, 1ull, 0x7feull, 0xff8ull}) {
                std::uint64_t full = (page_size - offset) / width;
                for (std::uint64_t count : {std::uint64_t{0}, std::uint64_t{1}, full - 1, full, full + 1})
                    expect_right(guest, what, width, offset, count);
            }
        }
    }
}

TEST(String, CountsWhatItExecutes) {
    for (std::uint64_t count : {0u, 1u, 7u, 512u, 600u}) {
        std::array<std::int64_t, 2> counted{};
        Guest guest{{.counted = true}};
        for (std::int64_t& instructions : counted) {
            fill(guest);
            std::int64_t before = EngineFrame::of(guest.machine.vcpu).instructions;
            guest.run(What::Movs, 8, from, to, count);
            instructions = EngineFrame::of(guest.machine.vcpu).instructions - before;
        }
        EXPECT_EQ(counted[1], 4 + static_cast<std::int64_t>(count == 0 ? 1 : count));
        EXPECT_EQ(counted[0], counted[1]);
    }
}

// Counts whose number of bytes, or whose end, is a small number again after 2^64.
TEST(String, HugeCountsGoOnToAFault) {
    for (What what : {What::Movs, What::Stos}) {
        for (std::uint64_t count : {1ull << 61, (1ull << 61) + 1, 1ull << 63, ~0ull, ~0ull / 8}) {
            Guest guest;
            fill(guest);
            guest.machine.unmap(to + page_size);
            for (unsigned time = 0; time < 2; ++time) {
                guest.run(what, 8, from + 8, to + 16, count);
                std::uint64_t done = (page_size - 16) / 8;
                EXPECT_EQ(guest.machine.vcpu.cr2, to + page_size);
                EXPECT_EQ(guest.machine.reg(Gpr::Rcx), count - done);
                EXPECT_EQ(guest.machine.reg(Gpr::Rdi), to + page_size);
            }
        }
    }
}

// What an entry of the TLB that holds nothing is tagged with may be the page beside the one that selects it.
TEST(String, FindsNoNeighboursEntry) {
    for (std::uint64_t page : {to, to + page_size}) {
        Guest guest;
        fill(guest);
        guest.run(What::Stos, 8, 0, page, 1);
        guest.machine.unmap(page);
        for (std::uint64_t offset : {0u, 8u, 0xff8u}) {
            for (std::uint64_t count : {1u, 511u, 512u}) {
                guest.run(What::Stos, 8, 0, page + offset, count);
                EXPECT_EQ(guest.machine.vcpu.cr2, page + offset);
                EXPECT_EQ(guest.machine.reg(Gpr::Rcx), count);
            }
        }
    }
}

TEST(String, SpreadsWithinAPage) {
    Guest guest;
    for (unsigned distance : {1u, 3u, 8u, 64u}) {
        for (unsigned time = 0; time < 2; ++time) {
            fill(guest);
            guest.run(What::Movs, 1, from + 5, from + 5 + distance, 2000);
            guest.expect_done(What::Movs, 1, from + 5, from + 5 + distance, 2000);
            for (std::uint64_t n = 0; n < 2000 + distance; ++n)
                ASSERT_EQ(guest.machine.get<std::uint8_t>(from + 5 + n), pattern(5 + n % distance));
        }
    }
}

TEST(String, WritesNoPageThatMayOnlyBeRead) {
    Guest guest;
    fill(guest);
    guest.machine.map(to, PageEntry::P | PageEntry::A);
    guest.run(What::Movs, 8, to, from, 8);
    guest.expect_done(What::Movs, 8, to, from, 8);
    guest.run(What::Movs, 8, from, to, 8);
    EXPECT_EQ(guest.machine.vcpu.cr2, to);
    EXPECT_EQ(guest.machine.reg(Gpr::Rcx), 8u);
    EXPECT_EQ(guest.machine.reg(Gpr::Rsi), from);
}

}  // namespace
}  // namespace undercroft::translate
