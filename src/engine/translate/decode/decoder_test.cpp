// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/decode/decoder.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace undercroft::translate {
namespace {

using Bytes = std::array<std::byte, ZYDIS_MAX_INSTRUCTION_LENGTH>;

constexpr Assumptions everything{.vector_usable = true,
                                 .avx_usable = true,
                                 .xsave_usable = true,
                                 .user_tsc = true,
                                 .smap = true,
                                 .fsgsbase = true};

bool same(const Operand& a, const Operand& b) {
    if (a.type != b.type || a.actions != b.actions || a.size != b.size) return false;
    switch (a.type) {
        case ZYDIS_OPERAND_TYPE_REGISTER: return a.reg == b.reg;
        case ZYDIS_OPERAND_TYPE_IMMEDIATE: return a.imm == b.imm;
        case ZYDIS_OPERAND_TYPE_MEMORY:
            return a.mem.type == b.mem.type && a.mem.scale == b.mem.scale && a.mem.segment == b.mem.segment &&
                   a.mem.base == b.mem.base && a.mem.index == b.mem.index && a.mem.disp == b.mem.disp;
        default: return true;
    }
}

bool same(const FlagEffects& a, const FlagEffects& b) {
    return a.read == b.read && a.written == b.written && a.modifies == b.modifies && a.shown == b.shown &&
           a.touches == b.touches;
}

// All that a form has is compared.
bool same(const Form& a, const Form& b) {
    return a.mnemonic == b.mnemonic && a.category == b.category && a.isa_ext == b.isa_ext &&
           a.exception_class == b.exception_class && a.branch_type == b.branch_type &&
           a.encoding == b.encoding && a.opcode_map == b.opcode_map && a.opcode == b.opcode &&
           a.length == b.length && a.operand_width == b.operand_width && a.address_width == b.address_width &&
           a.operand_count == b.operand_count && a.operand_count_visible == b.operand_count_visible &&
           a.prefix_count == b.prefix_count && a.rex_offset == b.rex_offset && a.vex_offset == b.vex_offset &&
           a.modrm_offset == b.modrm_offset && a.operand_end == b.operand_end &&
           a.memory_operand == b.memory_operand && a.high_byte == b.high_byte &&
           a.on_x87_state == b.on_x87_state && a.may_fault == b.may_fault && a.kind == b.kind &&
           a.named == b.named && a.written == b.written && a.attributes == b.attributes &&
           a.cpu_flags == b.cpu_flags && same(a.flags, b.flags);
}

bool same(const Instruction& a, const Instruction& b) {
    bool alike = same(static_cast<const Form&>(a), static_cast<const Form&>(b)) && a.rip == b.rip &&
                 std::memcmp(a.bytes.data(), b.bytes.data(), a.length) == 0;
    for (std::size_t n = 0; alike && n < a.operand_count; ++n) alike = same(a.operand[n], b.operand[n]);
    return alike;
}

// Prefixes, an opcode and what may follow, of which some are the same each time.
Bytes make(std::mt19937_64& random) {
    constexpr std::array<unsigned, 11> prefixes{0x66, 0xf2, 0xf3, 0x67, 0x64, 0x65,
                                                0x2e, 0xf0, 0x48, 0x41, 0x4c};
    Bytes bytes;
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xff);
    std::size_t at = 0;
    for (std::uint64_t left = random() % 4; left > 1; --left)
        bytes[at++] = static_cast<std::byte>(prefixes[random() % prefixes.size()]);
    if (random() % 3 == 0) bytes[at++] = std::byte{0x0f};
    return bytes;
}

// What is known of an instruction with other values gives the same as decoding it.
TEST(Decoder, KnowsFormsAsIfItHadDecodedThem) {
    std::mt19937_64 random{1};
    unsigned known = 0;
    for (unsigned round = 0; round < 300'000; ++round) {
        static Decoder learned;
        bool user = random() % 2 != 0;
        Bytes bytes = make(random);
        Instruction first;
        if (!learned.decode(bytes, 0x1000, everything, user, first)) continue;
        Bytes again = bytes;  // other values behind the head
        std::size_t values = first.operand_end != 0 && (first.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0
                                 ? first.modrm_offset + 2u
                                 : first.prefix_count + 2u;
        for (std::size_t n = values; n < again.size(); ++n)
            again[n] = static_cast<std::byte>(random() & 0xff);
        static Decoder fresh;
        fresh.decode(bytes, 0x1000, {}, user, first);  // it knows nothing for other assumptions
        Instruction expected;
        Instruction got;
        bool decodable = fresh.decode(again, 0x2000, everything, user, expected);
        ASSERT_EQ(learned.decode(again, 0x2000, everything, user, got), decodable) << round;
        if (!decodable) continue;
        ASSERT_TRUE(same(expected, got)) << "round " << round << ", opcode " << unsigned{expected.opcode};
        ++known;
    }
    EXPECT_GT(known, 100'000u);
}

TEST(Decoder, TheCountOfAShiftDecidesOfItsFlags) {
    Decoder decoder;
    Instruction i;
    Bytes bytes{std::byte{0xc1}, std::byte{0xe0}, std::byte{0x05}};  // shl eax, 5
    ASSERT_TRUE(decoder.decode(bytes, 0, everything, true, i));
    EXPECT_EQ(i.flags.read, 0u);
    bytes[2] = std::byte{0x20};  // by nothing
    ASSERT_TRUE(decoder.decode(bytes, 0, everything, true, i));
    EXPECT_NE(i.flags.read, 0u);
}

TEST(Decoder, WhatItKnowsIsOfTheLevelAndTheControlRegisters) {
    Decoder decoder;
    Instruction i;
    Bytes wbase{std::byte{0xf3}, std::byte{0x0f}, std::byte{0xae}, std::byte{0xd0}};  // wrfsbase eax
    for (int times = 0; times < 2; ++times) {
        ASSERT_TRUE(decoder.decode(wbase, 0, everything, true, i));
        EXPECT_EQ(i.kind, Kind::WriteSegmentBase);
        ASSERT_TRUE(decoder.decode(wbase, 0, {}, true, i));
        EXPECT_EQ(i.kind, Kind::Step);
    }
    Bytes cli{std::byte{0xfa}};
    for (int times = 0; times < 2; ++times) {
        ASSERT_TRUE(decoder.decode(cli, 0, everything, false, i));
        EXPECT_EQ(i.kind, Kind::Cli);
        ASSERT_TRUE(decoder.decode(cli, 0, everything, true, i));
        EXPECT_EQ(i.kind, Kind::Step);
    }
}

}  // namespace
}  // namespace undercroft::translate
