// SPDX-License-Identifier: Apache-2.0
// A copy for another virtual page is what translation for it would have made, byte for byte.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"
#include "engine/translate/runtime/translator.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace undercroft::translate {
namespace {

using test::StepMachine;

// The page of code, at any page of two regions of 512 GiB.
constexpr std::uint64_t region = std::uint64_t{1} << 39;
constexpr std::uint64_t here = 170 * region + 0x12345000, there = 85 * region + 0x7654321000;

// User code, seen at all pages of some regions.
struct Guest {
    Guest() {
        constexpr std::uint64_t open = PageEntry::P | PageEntry::RW | PageEntry::US;
        constexpr std::uint64_t first_table = 0x300000;
        for (std::uint64_t table = first_table; table < first_table + 3 * page_size; table += page_size) {
            bool last = table == first_table + 2 * page_size;
            std::uint64_t next = last ? StepMachine::code : table + page_size;
            for (std::uint64_t n = 0; n < 512; ++n) machine.put<std::uint64_t>(table + 8 * n, next | open);
        }
        for (std::uint64_t at : {here, there})
            machine.put<std::uint64_t>(StepMachine::tables + 8 * (at / region), first_table | open);
        machine.be_user();
        machine.mmu->flush_all();
    }

    Block* translate(std::uint64_t rip) {
        machine.vcpu.rip = rip;
        bool step_instead = false;
        return translator->translate(machine.vcpu, step_instead);
    }
    const std::byte* base(const Block& block) const {
        return block.code_begin - translator->memory().offset_of(block.code_begin);
    }

    StepMachine machine;
    std::unique_ptr<Translator> translator =
        std::move(*Translator::create(machine.vcpu, {.chaining = false}));
};

// Instructions whose translations depend on where they are, and others.
std::vector<std::uint8_t> program(std::mt19937_64& random) {
    const std::vector<std::vector<int>> pieces{
        {0x48, 0x8b, 0x05, -4},              // mov rax, [rip + x]
        {0x48, 0x8d, 0x0d, -4},              // lea rcx, [rip + x]
        {0x4c, 0x8d, 0x15, -4},              // lea r10, [rip + x]
        {0xe8, -4},                          // call
        {0xe9, -4},                          // jmp
        {0xeb, -1},                          // jmp short
        {0x0f, 0x84, -4},                    // je
        {0x75, -1},                          // jne short
        {0x7c, -1},                          // jl short
        {0xff, 0x15, -4},                    // call [rip + x]
        {0xff, 0x25, -4},                    // jmp [rip + x]
        {0xff, 0xd0},                        // call rax
        {0xc3},                              // ret
        {0x0f, 0x05},                        // syscall
        {0x48, 0x83, 0x05, -4, 0x01},        // add qword [rip + x], 1
        {0xf0, 0x48, 0x0f, 0xb1, 0x0d, -4},  // lock cmpxchg [rip + x], rcx
        {0x48, 0xf7, 0x35, -4},              // div qword [rip + x]
        {0x0f, 0x28, 0x05, -4},              // movaps xmm0, [rip + x]
        {0x48, 0xf7, 0xf1},                  // div rcx
        {0x0f, 0x58, 0xc1},                  // addps xmm0, xmm1
        {0x55},                              // push rbp
        {0x5d},                              // pop rbp
        {0x48, 0x8b, 0x47, 0x08},            // mov rax, [rdi+8]
        {0x48, 0x89, 0x77, 0x10},            // mov [rdi+16], rsi
        {0x48, 0x39, 0xd8},                  // cmp rax, rbx
        {0x4d, 0x01, 0xda},                  // add r10, r11
        {0x4c, 0x8b, 0x54, 0xcf, 0x20},      // mov r10, [rdi+rcx*8+32]
        {0xf3, 0xa4},                        // rep movsb
        {0xf3, 0x90},                        // pause
        {0x0f, 0xa2},                        // cpuid
        {0x0f, 0x31},                        // rdtsc
    };
    std::vector<std::uint8_t> code;
    while (code.size() < 400) {
        for (int byte : pieces[random() % pieces.size()]) {
            for (int n = byte < 0 ? byte : -1; n < 0; ++n)
                code.push_back(static_cast<std::uint8_t>(byte < 0 ? random() : static_cast<unsigned>(byte)));
            if (byte == -4 && random() % 2 != 0) code.back() = code[code.size() - 2] = 0;  // not far
        }
    }
    return code;
}

// Words that are the same, or the same place in both.
bool same_words(const std::byte* a, const std::byte* a_base, const std::byte* b, const std::byte* b_base,
                std::size_t bytes) {
    for (std::size_t n = 0; n + 8 <= bytes; n += 8) {
        std::uint64_t in_a = 0;
        std::uint64_t in_b = 0;
        std::memcpy(&in_a, a + n, 8);
        std::memcpy(&in_b, b + n, 8);
        auto origin = [](const std::byte* base) { return reinterpret_cast<std::uint64_t>(base); };
        if (in_a != in_b && in_a - origin(a_base) != in_b - origin(b_base)) return false;
    }
    return true;
}

void expect_same(const Guest& a, const Block& in_a, const Guest& b, const Block& in_b) {
    const std::byte* a_base = a.base(in_a);
    const std::byte* b_base = b.base(in_b);
    ASSERT_EQ(in_a.code_begin - a_base, in_b.code_begin - b_base);
    ASSERT_EQ(in_a.code_end - a_base, in_b.code_end - b_base);
    ASSERT_EQ(in_a.cold_begin - a_base, in_b.cold_begin - b_base);
    ASSERT_EQ(in_a.cold_end - a_base, in_b.cold_end - b_base);
    EXPECT_EQ(in_a.frame_entry - a_base, in_b.frame_entry - b_base);
    EXPECT_EQ(in_a.host_entry - a_base, in_b.host_entry - b_base);
    EXPECT_EQ(in_a.rip, in_b.rip);
    EXPECT_EQ(in_a.page_id, in_b.page_id);
    EXPECT_EQ(in_a.length, in_b.length);
    EXPECT_EQ(in_a.granules, in_b.granules);
    EXPECT_EQ(in_a.live_in, in_b.live_in);
    EXPECT_EQ(0, std::memcmp(in_a.code_begin, in_b.code_begin,
                             static_cast<std::size_t>(in_a.code_end - in_a.code_begin)));
    EXPECT_EQ(0, std::memcmp(in_a.cold_begin, in_b.cold_begin,
                             static_cast<std::size_t>(in_a.cold_end - in_a.cold_begin)));
    ASSERT_EQ(in_a.movable, in_b.movable);
    if (!in_a.movable) return;
    ASSERT_EQ(in_a.record_bytes, in_b.record_bytes);
    EXPECT_TRUE(same_words(reinterpret_cast<const std::byte*>(&in_a + 1), a_base,
                           reinterpret_cast<const std::byte*>(&in_b + 1), b_base,
                           in_a.record_bytes - sizeof(Block)));
    for (HostCode pc = in_a.code_begin; pc < in_a.code_end; ++pc) {
        const FaultPoint* at_a = a.translator->fault_point(pc);
        const FaultPoint* at_b = b.translator->fault_point(b_base + (pc - a_base));
        ASSERT_EQ(at_a == nullptr, at_b == nullptr);
        if (at_a == nullptr) continue;
        EXPECT_EQ(at_a->begin, at_b->begin);
        EXPECT_EQ(at_a->end, at_b->end);
        EXPECT_EQ(at_a->rip, at_b->rip);
    }
}

TEST(Relocate, ACopyIsWhatTranslationWouldHaveMade) {
    std::mt19937_64 random{3};
    Guest copying;
    Guest plain;
    for (unsigned round = 0; round < 400 && !::testing::Test::HasFailure(); ++round) {
        SCOPED_TRACE(round);
        std::vector<std::uint8_t> code = program(random);
        std::uint64_t start = random() % 3000;
        for (Guest* guest : {&copying, &plain}) {
            guest->machine.code_pages.wrote(GuestPhysical{StepMachine::code}, page_size);
            for (std::size_t n = 0; n < code.size(); ++n)
                guest->machine.put<std::uint8_t>(StepMachine::code + start + n, code[n]);
        }
        std::vector<std::uint64_t> starts;
        for (std::uint64_t at = start; at < start + code.size(); at += 1 + random() % 40) {
            Block* a = copying.translate(here + at);
            Block* b = plain.translate(here + at);
            ASSERT_EQ(a == nullptr, b == nullptr);
            if (a != nullptr) starts.push_back(at);
        }
        // Now the plain one does not know it any more.
        plain.machine.code_pages.wrote(GuestPhysical{StepMachine::code}, page_size);
        for (std::uint64_t at : starts) {
            Block* a = copying.translate(there + at);
            Block* b = plain.translate(there + at);
            ASSERT_TRUE(a != nullptr && b != nullptr);
            expect_same(copying, *a, plain, *b);
        }
    }
    EXPECT_GT(copying.translator->statistics().copies, 3000u);
    EXPECT_EQ(plain.translator->statistics().copies, 0u);
}

// Calls through a register, a loop, a branch each way, addresses relative to RIP; returns at a #GP.
constexpr std::initializer_list<int> walk{
    0x48, 0x8d, 0x1d, 0x1b, 0x00, 0x00, 0x00,  // lea rbx, [rip + 2f]
    0xb9, 0x0a, 0x00, 0x00, 0x00,              // mov ecx, 10
    0xff, 0xd3,                                // 1: call rbx
    0xff, 0xc9,                                // dec ecx
    0x75, 0xfa,                                // jne 1b
    0x48, 0x8d, 0x15, 0xe7, 0xff, 0xff, 0xff,  // lea rdx, [rip to the beginning]
    0x48, 0x29, 0xd3,                          // sub rbx, rdx
    0x48, 0x31, 0xd2,                          // xor rdx, rdx
    0xf4,                                      // hlt
    0xcc, 0xcc,                                //
    0x01, 0xc8,                                // 2: add eax, ecx
    0xa8, 0x01,                                // test al, 1
    0x74, 0x02,                                // je 3f
    0xff, 0xc0,                                // inc eax
    0xc3};                                     // 3: ret

TEST(Relocate, CopiesOfLinkedBlocksRunAtTheirOwnPlace) {
    Guest guest;
    for (unsigned vector = 0; vector < 256; ++vector)
        guest.machine.put<std::uint8_t>(StepMachine::handlers + 16 * vector, 0xf4);
    guest.machine.load(walk);
    guest.translator.reset();
    auto engine = std::move(*make_translate_engine(guest.machine.vcpu, {}));
    std::array<std::uint64_t, 16> first{};
    for (std::uint64_t at : {here, there, here}) {
        guest.machine.be_user();
        guest.machine.vcpu.activity = Activity::Running;
        guest.machine.vcpu.gpr = {};
        guest.machine.vcpu.reg(Gpr::Rsp) = StepMachine::stack;
        guest.machine.vcpu.rip = at;
        ASSERT_EQ(engine->run(guest.machine.vcpu), Exit::Halt);
        EXPECT_EQ(guest.machine.pushed(1), at + 31) << "the hlt";
        guest.machine.vcpu.reg(Gpr::Rsp) = 0;
        if (at == here) first = guest.machine.vcpu.gpr;
        EXPECT_EQ(guest.machine.vcpu.gpr, first);
    }
    std::uint64_t copies = 0;
    for (const auto& [name, value] : engine->statistics()) {
        if (name == "of them, copies for another address") copies = value;
    }
    EXPECT_GE(copies, 5u);
}

}  // namespace
}  // namespace undercroft::translate
