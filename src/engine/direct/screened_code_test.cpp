// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/screened_code.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <initializer_list>
#include <vector>

namespace undercroft::direct {
namespace {

using Offsets = std::vector<std::uint16_t>;

struct ScreenedCodeTest : testing::Test {
    // Pages of NOPs.
    std::vector<std::byte> first = std::vector<std::byte>(4096, std::byte{0x90});
    std::vector<std::byte> second = first;
    ScreenedCode code;

    static void put(std::vector<std::byte>& page, std::size_t at, std::initializer_list<int> bytes) {
        for (int byte : bytes) page[at++] = static_cast<std::byte>(byte);
    }
    ScreenedCode::Finding look_at_first(const Offsets& starts = {0}) {
        return code.look({1, first}, {}, {}, starts);
    }
    ScreenedCode::Finding look_at_second(bool with_first) {
        return code.look({2, second}, with_first ? ScreenedCode::Page{1, first} : ScreenedCode::Page{}, {},
                         {0});
    }
    void change(std::uint64_t changed) {
        code.forget([=](std::uint64_t pfn) { return pfn == changed; });
    }
};

TEST_F(ScreenedCodeTest, IsLookedThroughOnceUntilItChanges) {
    put(first, 100, {0x0f, 0xa2});  // CPUID
    EXPECT_EQ(look_at_first().found.certain, Offsets{100});
    put(first, 200, {0x0f, 0xa2});
    EXPECT_EQ(look_at_first().found.certain, Offsets{100}) << "nobody has told";
    change(2);
    EXPECT_EQ(look_at_first().found.certain, Offsets{100});
    change(1);
    EXPECT_EQ(look_at_first().found.certain, (Offsets{100, 200}));
}

TEST_F(ScreenedCodeTest, OtherStartsMayTellOtherwise) {
    put(first, 100, {0xb9, 0x0f, 0xa2, 0, 0});  // mov ecx, 0xa20f
    EXPECT_TRUE(look_at_first({0}).found.empty());
    EXPECT_EQ(look_at_first({0, 101}).found.certain, Offsets{101});
    EXPECT_TRUE(look_at_first({0}).found.empty());
}

TEST_F(ScreenedCodeTest, OneMayLieAcrossTwoPages) {
    put(first, 4095, {0x0f});
    put(second, 0, {0xa2});
    EXPECT_FALSE(look_at_second(false).across);
    EXPECT_TRUE(look_at_second(true).across);
    put(first, 4095, {0x90});
    EXPECT_TRUE(look_at_second(true).across) << "nobody has told";
    change(1);
    EXPECT_FALSE(look_at_second(true).across);
}

}  // namespace
}  // namespace undercroft::direct
