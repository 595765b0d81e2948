// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/sensitive.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace undercroft::direct {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Offsets = std::vector<std::uint16_t>;

constexpr std::size_t page = 4096;

// A page of NOPs with `code` at an offset.
std::vector<std::byte> page_with(const Bytes& code, std::size_t at) {
    std::vector<std::byte> bytes(page, std::byte{0x90});
    for (std::size_t n = 0; n < code.size(); ++n) bytes[at + n] = std::byte{code[n]};
    return bytes;
}

SensitiveInstructions find(const std::vector<std::byte>& code, const Offsets& starts) {
    return sensitive_instructions({.code = code, .starts = starts});
}

struct Named {
    const char* name;
    Bytes code;
};

const std::vector<Named> sensitive{
    {"cpuid", {0x0f, 0xa2}},
    {"xgetbv", {0x0f, 0x01, 0xd0}},
    {"rdtscp", {0x0f, 0x01, 0xf9}},
    {"rdpid rax", {0xf3, 0x0f, 0xc7, 0xf8}},
    {"rdpid r9", {0xf3, 0x41, 0x0f, 0xc7, 0xf9}},
    {"rdpkru", {0x0f, 0x01, 0xee}},
    {"wrpkru", {0x0f, 0x01, 0xef}},
    {"sgdt [rax]", {0x0f, 0x01, 0x00}},
    {"sidt [rsp+8]", {0x0f, 0x01, 0x4c, 0x24, 0x08}},
    {"smsw eax", {0x0f, 0x01, 0xe0}},
    {"smsw r8w", {0x66, 0x41, 0x0f, 0x01, 0xe0}},
    {"smsw [rax]", {0x0f, 0x01, 0x20}},
    {"xsave [rdi]", {0x0f, 0xae, 0x27}},
    {"xsave64 [rsp+64]", {0x48, 0x0f, 0xae, 0x64, 0x24, 0x40}},
    {"xrstor [rdi]", {0x0f, 0xae, 0x2f}},
    {"xrstor64 [rsp+64]", {0x48, 0x0f, 0xae, 0x6c, 0x24, 0x40}},
    {"xsaveopt [rdi]", {0x0f, 0xae, 0x37}},
    {"xsavec [rsp+64]", {0x0f, 0xc7, 0x64, 0x24, 0x40}},
    {"xsavec64 [rdi]", {0x48, 0x0f, 0xc7, 0x27}},
    {"int 0x80", {0xcd, 0x80}},
    {"sysenter", {0x0f, 0x34}},
    {"vmcall", {0x0f, 0x01, 0xc1}},
    {"vmmcall", {0x0f, 0x01, 0xd9}},
    {"cpuid with prefixes", {0x66, 0xf2, 0x48, 0x0f, 0xa2}},
};

TEST(Sensitive, FoundBehindAKnownStart) {
    for (const Named& one : sensitive) {
        for (std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{1234}, page - one.code.size()}) {
            auto found = find(page_with(one.code, at), {0});
            EXPECT_EQ(found.certain, Offsets{static_cast<std::uint16_t>(at)}) << one.name;
        }
    }
}

TEST(Sensitive, AllOfThemAreFoundInTheirOrder) {
    Bytes code;
    Offsets wanted;
    for (const Named& one : sensitive) {
        wanted.push_back(static_cast<std::uint16_t>(100 + code.size()));
        code.insert(code.end(), one.code.begin(), one.code.end());
    }
    EXPECT_EQ(find(page_with(code, 100), {0}).certain, wanted);
}

TEST(Sensitive, NeighboursOfTheirEncodingsAreNot) {
    const std::vector<Named> harmless{
        {"rdtsc", {0x0f, 0x31}},
        {"syscall", {0x0f, 0x05}},
        {"xend", {0x0f, 0x01, 0xd5}},
        {"swapgs, which faults", {0x0f, 0x01, 0xf8}},
        {"lgdt [rax], which faults", {0x0f, 0x01, 0x10}},
        {"fxsave [rdi]", {0x0f, 0xae, 0x07}},
        {"fxrstor [rdi]", {0x0f, 0xae, 0x0f}},
        {"ldmxcsr [rdi]", {0x0f, 0xae, 0x17}},
        {"stmxcsr [rdi]", {0x0f, 0xae, 0x1f}},
        {"clflush [rdi]", {0x0f, 0xae, 0x3f}},
        {"clwb [rdi]", {0x66, 0x0f, 0xae, 0x37}},
        {"lfence", {0x0f, 0xae, 0xe8}},
        {"mfence", {0x0f, 0xae, 0xf0}},
        {"sfence", {0x0f, 0xae, 0xf8}},
        {"rdfsbase rax", {0xf3, 0x48, 0x0f, 0xae, 0xc0}},
        {"cmpxchg16b [rdi]", {0x48, 0x0f, 0xc7, 0x0f}},
        {"rdrand eax", {0x0f, 0xc7, 0xf0}},
        {"rdseed eax", {0x0f, 0xc7, 0xf8}},
        {"int 0x81, which faults", {0xcd, 0x81}},
    };
    for (const Named& one : harmless) EXPECT_TRUE(find(page_with(one.code, 50), {0}).empty()) << one.name;
}

// Their bytes within other instructions, as a displacement, immediate or branch distance; where that begins
// is known.
TEST(Sensitive, TheirBytesInOtherInstructionsAreNot) {
    for (const Named& one : sensitive) {
        Bytes immediate{0x48, 0xb8, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x08};  // mov rax, imm64
        Bytes displacement{0xc5, 0x7d, 0x6f, 0x94, 0x24,
                           0x11, 0x22, 0x33, 0x00};  // vmovdqa ymm10, [rsp+disp32]
        std::copy(one.code.begin(), one.code.end(), immediate.begin() + 2);
        std::copy_n(one.code.begin(), std::min<std::size_t>(one.code.size(), 4), displacement.begin() + 5);
        EXPECT_TRUE(find(page_with(immediate, 700), {0}).empty()) << one.name;
        EXPECT_TRUE(find(page_with(displacement, 700), {0}).empty()) << one.name;
    }
}

// What a compiler makes of much vector state on the stack: vmovdqa ymm10, [rsp+0xf28] and so on, where 0F 28,
// 0F A2, 0F 34 and others come as displacements. Without known starts, most decodings fall into step.
TEST(Sensitive, StreamsOfVectorMovesAreNot) {
    Bytes code;
    for (unsigned n = 0; code.size() < 3000; ++n) {
        std::uint8_t low = std::vector<std::uint8_t>{0x28, 0xa2, 0x34, 0xae, 0x01}[n % 5];
        Bytes move{0xc5, 0x7d, 0x6f, 0x94, 0x24, low, 0x0f, 0x00, 0x00};  // [rsp + 0x0f00 + low]
        if (n % 2 != 0) move = {0x48, 0x8b, 0x84, 0x24, 0x0f, low, 0x00, 0x00};
        code.insert(code.end(), move.begin(), move.end());
    }
    EXPECT_TRUE(find(page_with(code, 100), {0}).empty());
    EXPECT_TRUE(find(page_with(code, 100), {}).empty());
}

TEST(Sensitive, WithoutAKnownStartItIsSuspected) {
    for (const Named& one : sensitive) {
        SensitiveInstructions found = find(page_with(one.code, 2000), {});
        EXPECT_TRUE(found.certain.empty()) << one.name;
        EXPECT_EQ(std::count(found.suspected.begin(), found.suspected.end(), 2000), 1) << one.name;
    }
    // With prefixes, or as if these were another one's.
    SensitiveInstructions found = find(page_with({0x44, 0xcd, 0x04}, 2000), {});
    EXPECT_EQ(found.suspected, (Offsets{2001, 2000}));
    // One behind it is of no use.
    EXPECT_EQ(find(page_with({0x0f, 0xa2}, 2000), {2002}).suspected, Offsets{2000});
    EXPECT_EQ(find(page_with({0x0f, 0xa2}, 2000), {1990}).certain, Offsets{2000});
    EXPECT_EQ(find(page_with({0x0f, 0xa2}, 2000), {2000}).certain, Offsets{2000});
}

// In a page of nothing but such bytes, too, it comes to an end.
TEST(Sensitive, PagesFullOfThem) {
    std::vector<std::byte> code(page);
    for (std::size_t n = 0; n < page; ++n) code[n] = n % 2 == 0 ? std::byte{0x0f} : std::byte{0xa2};
    auto found = find(code, {0});
    EXPECT_EQ(found.certain.size(), page / 2);
    EXPECT_TRUE(find(code, {}).certain.empty());
    EXPECT_FALSE(find(code, {}).suspected.empty());
}

// One that begins in this page and ends in the next: of this one. One that began in the page before is not.
TEST(Sensitive, AcrossBothEndsOfAPage) {
    const std::vector<std::byte> none(bytes_behind, std::byte{0x90});
    for (const Named& one : sensitive) {
        for (std::size_t here = 1; here < one.code.size(); ++here) {
            std::vector<std::byte> behind = none;
            std::vector<std::byte> code = page_with({}, 0);
            for (std::size_t n = 0; n < one.code.size(); ++n)
                (n < here ? code[page - here + n] : behind[n - here]) = std::byte{one.code[n]};
            auto found = sensitive_instructions({.code = code, .behind = behind, .starts = Offsets{0}});
            EXPECT_EQ(found.certain, Offsets{static_cast<std::uint16_t>(page - here)})
                << one.name << ' ' << here;

            std::vector<std::byte> before(bytes_before, std::byte{0x90});
            code = page_with({}, 0);
            for (std::size_t n = 0; n < one.code.size(); ++n)
                (n < here ? before[bytes_before - here + n] : code[n - here]) = std::byte{one.code[n]};
            found = sensitive_instructions({.before = before, .code = code, .starts = Offsets{}});
            EXPECT_TRUE(found.certain.empty()) << one.name << ' ' << here;
        }
    }
}

// The bytes behind the page alone are the next page's affair.
TEST(Sensitive, WhatBeginsBehindThePageIsNot) {
    std::vector<std::byte> behind(bytes_behind, std::byte{0x90});
    behind[0] = std::byte{0x0f};
    behind[1] = std::byte{0xa2};
    std::vector<std::byte> code = page_with({}, 0);
    EXPECT_TRUE(sensitive_instructions({.code = code, .behind = behind, .starts = Offsets{0}}).empty());
}

}  // namespace
}  // namespace undercroft::direct
