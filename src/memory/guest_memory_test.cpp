// SPDX-License-Identifier: Apache-2.0
#include "memory/guest_memory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace undercroft {
namespace {

constexpr std::uint64_t MiB = 1 << 20;
constexpr std::uint64_t high = 1ull << 32;

std::unique_ptr<GuestMemory> two_regions() {
    auto memory = GuestMemory::create({{GuestPhysical{0}, 4 * MiB}, {GuestPhysical{high}, 2 * MiB}});
    EXPECT_TRUE(memory);
    return std::move(*memory);
}

TEST(GuestMemory, KnowsItsRegions) {
    auto memory = two_regions();
    EXPECT_EQ(memory->size(), 6 * MiB);
    EXPECT_EQ(memory->page_limit(), (high + 2 * MiB) >> 12);
    EXPECT_EQ(memory->regions().size(), 2u);
    EXPECT_TRUE(memory->is_ram(GuestPhysical{0}));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{4 * MiB - 1}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{4 * MiB}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{high - 1}));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{high}));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{high + 2 * MiB - 1}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{high + 2 * MiB}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{~0ull}));
}

TEST(GuestMemory, FreshPagesAreZeroDistinctAndFree) {
    auto memory = two_regions();
    EXPECT_EQ(memory->resident(), 0u);
    std::byte* low = memory->host(GuestPhysical{0x1234});
    std::byte* other = memory->host(GuestPhysical{high + 0x234});
    EXPECT_EQ(*low, std::byte{0});
    *low = std::byte{1};
    *other = std::byte{2};
    EXPECT_EQ(*memory->host(GuestPhysical{0x1234}), std::byte{1});
    EXPECT_EQ(memory->resident(), 2 * 4096u);
}

TEST(GuestMemory, CopiesAcrossPages) {
    auto memory = two_regions();
    std::array<std::byte, 10000> out{};
    std::array<std::byte, 10000> in{};
    for (std::size_t i = 0; i < out.size(); i++) out[i] = static_cast<std::byte>(i * 7);
    EXPECT_TRUE(memory->write(GuestPhysical{0x2ffd}, out));
    EXPECT_TRUE(memory->read(GuestPhysical{0x2ffd}, in));
    EXPECT_EQ(std::memcmp(in.data(), out.data(), in.size()), 0);
}

TEST(GuestMemory, RefusesWhatIsNotAllRam) {
    auto memory = two_regions();
    std::array<std::byte, 8> bytes;
    bytes.fill(std::byte{0xaa});
    EXPECT_FALSE(memory->write(GuestPhysical{4 * MiB - 4}, bytes));
    EXPECT_EQ(*memory->host(GuestPhysical{4 * MiB - 4}), std::byte{0});
    EXPECT_FALSE(memory->read(GuestPhysical{high - 4}, bytes));
    EXPECT_EQ(bytes[4], std::byte{0xaa});
    EXPECT_FALSE(memory->read(GuestPhysical{~0ull - 3}, bytes));
    EXPECT_TRUE(memory->read(GuestPhysical{~0ull}, {}));
}

TEST(GuestMemory, SaysWhyItCannotBeMade) {
    auto memory = GuestMemory::create({{GuestPhysical{0}, 1ull << 41}});
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().message, "cannot reserve 2097152 MiB of memory: more than a guest can address");
}

}  // namespace
}  // namespace undercroft
