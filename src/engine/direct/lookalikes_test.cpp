// SPDX-License-Identifier: Apache-2.0
// Bytes that look like a sensitive instruction, where decoding from a known start loses its way: nothing is
// to be replaced within another instruction.
#include "engine/direct/sensitive.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace undercroft::direct {
namespace {

using Offsets = std::vector<std::uint16_t>;

std::vector<std::byte> bytes_of(std::initializer_list<int> code) {
    std::vector<std::byte> bytes;
    for (int byte : code) bytes.push_back(static_cast<std::byte>(byte));
    return bytes;
}

// mov edx, 0x10f, of which the last byte is on the next page; there is SGDT in it.
TEST(Lookalikes, AnImmediateAcrossTheEnd) {
    auto code = bytes_of({0x90, 0xba, 0x0f, 0x01, 0x00});
    Offsets start{0};
    EXPECT_TRUE(sensitive_instructions({.code = code, .starts = start}).empty());
}

// xsave [rip + 0], of which the displacement is there.
TEST(Lookalikes, ASensitiveOneAcrossTheEnd) {
    auto code = bytes_of({0x90, 0x0f, 0xae, 0x25});
    Offsets start{0};
    EXPECT_EQ(sensitive_instructions({.code = code, .starts = start}).certain, Offsets{1});
}

// A jump over one byte, which is the opcode of `mov al, imm8`; then mov ecx, 0xa20f.
TEST(Lookalikes, BehindDataBehindAJump) {
    auto code = bytes_of({0xeb, 0x01, 0xb0, 0xb9, 0x0f, 0xa2, 0, 0, 0x90, 0x90, 0x90, 0x90});
    Offsets starts{0};
    EXPECT_TRUE(sensitive_instructions({.code = code, .starts = starts}).certain.empty());
    starts = {0, 3};
    EXPECT_TRUE(sensitive_instructions({.code = code, .starts = starts}).empty());
}

// On AMD's processors its displacement has two bytes: jg +8; mov ecx, 0x340fac20.
TEST(Lookalikes, BehindABranchWhoseLengthIsTheVendors) {
    auto code = bytes_of({0x66, 0x0f, 0x8f, 0x08, 0x00, 0xb9, 0x20, 0xac, 0x0f, 0x34, 0x90, 0x90});
    Offsets start{0};
    EXPECT_TRUE(sensitive_instructions({.code = code, .starts = start}).certain.empty());
}

// BNDMOV with a register that it does not have; it is a NOP without MPX. Then CPUID.
TEST(Lookalikes, EncodingsThatAreNopsByNow) {
    auto code = bytes_of({0x66, 0x0f, 0x1a, 0xc7, 0x0f, 0xa2});
    Offsets start{0};
    EXPECT_EQ(sensitive_instructions({.code = code, .starts = start}).certain, Offsets{4});
}

// It stops the process with the signal of a fault, behind itself.
TEST(Lookalikes, Int4) {
    auto code = bytes_of({0x90, 0xcd, 0x04, 0xcd, 0x05, 0xcd, 0x03});
    Offsets start{0};
    EXPECT_EQ(sensitive_instructions({.code = code, .starts = start}).certain, Offsets{1});
}

}  // namespace
}  // namespace undercroft::direct
