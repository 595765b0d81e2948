// SPDX-License-Identifier: Apache-2.0
#include "machine/memory_size.hpp"

#include <gtest/gtest.h>

namespace undercroft {
namespace {

std::string reason(std::string_view text) {
    auto size = parse_memory_size(text);
    return size ? "" : size.error().message;
}

TEST(MemorySize, TakesSuffixes) {
    EXPECT_EQ(*parse_memory_size("512M"), 512u << 20);
    EXPECT_EQ(*parse_memory_size("4g"), 4ull << 30);
    EXPECT_EQ(*parse_memory_size("65536K"), 64u << 20);
    EXPECT_EQ(*parse_memory_size("536870912"), 512u << 20);
    EXPECT_EQ(*parse_memory_size("64G"), 64ull << 30);
}

TEST(MemorySize, RefusesTheRestWithTheReason) {
    EXPECT_EQ(reason("x"), "memory 'x': not a size such as 512M or 4G");
    EXPECT_EQ(reason(""), "memory '': not a size such as 512M or 4G");
    EXPECT_EQ(reason("M"), "memory 'M': not a size such as 512M or 4G");
    EXPECT_EQ(reason("-5M"), "memory '-5M': not a size such as 512M or 4G");
    EXPECT_EQ(reason("5MB"), "memory '5MB': not a size such as 512M or 4G");
    EXPECT_EQ(reason("512"), "memory '512': too small, a guest needs 32 MiB at least");
    EXPECT_EQ(reason("31M"), "memory '31M': too small, a guest needs 32 MiB at least");
    EXPECT_EQ(reason("65G"), "memory '65G': more than 64 GiB");
    EXPECT_EQ(reason("99999999999999999999G"), "memory '99999999999999999999G': more than 64 GiB");
    EXPECT_EQ(reason("18446744073709551615G"), "memory '18446744073709551615G': more than 64 GiB");
    EXPECT_EQ(reason("536870913"), "memory '536870913': not a multiple of 4 KiB");
}

}  // namespace
}  // namespace undercroft
