// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/analyse/flags.hpp"

#include "engine/translate/decode/decoder.hpp"
#include "x86/registers.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <vector>

namespace undercroft::translate {
namespace {

constexpr auto every_flag = static_cast<std::uint32_t>(RFLAGS::Arithmetic);

std::vector<Instruction> decode(std::initializer_list<unsigned> code) {
    std::vector<std::byte> bytes;
    for (unsigned b : code) bytes.push_back(static_cast<std::byte>(b));
    Decoder decoder;
    std::vector<Instruction> result;
    std::size_t offset = 0;
    while (offset < bytes.size()) {
        Instruction i;
        if (!decoder.decode(std::span{bytes}.subspan(offset), 0x1000 + offset, {}, true, i)) break;
        offset += i.length;
        result.push_back(i);
    }
    return result;
}

TEST(Flags, OverwrittenUnreadAreDead) {
    auto block = decode({0x48, 0x01, 0xd8,    // add rax, rbx
                         0x48, 0x8b, 0x0f,    // mov rcx, [rdi]
                         0x48, 0x39, 0xd8});  // cmp rax, rbx
    EXPECT_EQ(analyse_flags(block, every_flag, FlagPrecision::Lazy), 0u);
    EXPECT_EQ(block[0].live_after, 0u);
    EXPECT_EQ(block[2].live_after, every_flag);
}

TEST(Flags, ExactPrecisionKeepsThemForWhatMayFault) {
    auto block = decode({0x48, 0x01, 0xd8, 0x48, 0x8b, 0x0f, 0x48, 0x39, 0xd8});
    analyse_flags(block, every_flag, FlagPrecision::Exact);
    EXPECT_EQ(block[0].live_after, every_flag);
}

TEST(Flags, IncKeepsCarryAlive) {
    auto block = decode({0x48, 0xff, 0xc0,    // inc rax
                         0x48, 0x11, 0xd8});  // adc rax, rbx
    EXPECT_EQ(analyse_flags(block, 0, FlagPrecision::Lazy), static_cast<std::uint32_t>(RFLAGS::CF));
}

TEST(Flags, ShiftByClMayLeaveAllFlags) {
    auto block = decode({0x48, 0xd3, 0xe0});  // shl rax, cl
    EXPECT_EQ(analyse_flags(block, 0, FlagPrecision::Lazy), every_flag);
    auto by_one = decode({0x48, 0xd1, 0xe0});  // shl rax, 1
    EXPECT_EQ(analyse_flags(by_one, 0, FlagPrecision::Lazy), 0u);
}

TEST(Flags, SystemCallShowsThemToTheGuest) {
    auto block = decode({0x0f, 0x05});
    EXPECT_EQ(analyse_flags(block, 0, FlagPrecision::Lazy), every_flag);
}

TEST(Decode, ClassifiesByWhatTheInstructionDoes) {
    struct Case {
        std::initializer_list<unsigned> code;
        Kind kind;
    };
    const Case cases[] = {
        {{0x48, 0x89, 0xd8}, Kind::Copy},  // mov rax, rbx
        {{0x55}, Kind::Push},              // push rbp
        {{0x66, 0x55}, Kind::Step},        // push bp
        {{0x8f, 0x00}, Kind::Step},        // pop [rax]
        {{0xc3}, Kind::Return},
        {{0xcb}, Kind::Step},  // retf
        {{0xe8, 0, 0, 0, 0}, Kind::CallDirect},
        {{0xff, 0xd0}, Kind::CallIndirect},
        {{0x75, 0x00}, Kind::JumpConditional},
        {{0xe3, 0x00}, Kind::Step},              // jrcxz
        {{0xf3, 0xa4}, Kind::String},            // rep movsb
        {{0xa4}, Kind::Step},                    // movsb
        {{0xfa}, Kind::Step},                    // cli, as user code
        {{0x0f, 0xa3, 0x08}, Kind::BitString},   // bt [rax], ecx
        {{0x66, 0x0f, 0xa3, 0x08}, Kind::Step},  // bt [rax], cx
        {{0x0f, 0xba, 0x20, 0x01}, Kind::Copy},  // bt [rax], 1
        {{0x8e, 0xd8}, Kind::Helper},            // mov ds, eax
        {{0x8e, 0xd0}, Kind::Step},              // mov ss, eax: casts a shadow
        {{0x66, 0x8c, 0xd8}, Kind::ReadSystem},  // mov ax, ds
        {{0x0f, 0xa2}, Kind::Helper},            // cpuid
        {{0xe4, 0x60}, Kind::Step},              // in al, 0x60, as user code
        {{0x0f, 0x01, 0xf9}, Kind::ReadTsc},     // rdtscp
        {{0x0f, 0x28, 0xc1}, Kind::Step},        // movaps: vector state is not assumed usable here
        {{0xf3, 0x0f, 0x1e, 0xfa}, Kind::Nop},   // endbr64
        {{0x0f, 0x0b}, Kind::Step},              // ud2
    };
    for (const Case& c : cases) {
        auto block = decode(c.code);
        ASSERT_EQ(block.size(), 1u);
        EXPECT_EQ(block[0].kind, c.kind) << std::hex << *c.code.begin();
    }
}

}  // namespace
}  // namespace undercroft::translate
