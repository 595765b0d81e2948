// SPDX-License-Identifier: Apache-2.0
#include "memory/page_hash.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace undercroft {
namespace {

class PageHash : public testing::TestWithParam<std::uint64_t (*)(const std::byte*) noexcept> {};

TEST_P(PageHash, TellsPagesApartThatDifferInOneBit) {
    auto* hash = GetParam();
    alignas(16) std::array<std::byte, 4096> page{};
    std::set<std::uint64_t> low_halves;  // from which DiskOrigins has its tags
    low_halves.insert(hash(page.data()) & 0xffffffff);
    for (std::size_t at = 0; at < page.size(); ++at) {
        page[at] = std::byte{0x40};
        low_halves.insert(hash(page.data()) & 0xffffffff);
        page[at] = std::byte{0};
    }
    EXPECT_EQ(low_halves.size(), page.size() + 1);
    EXPECT_EQ(low_halves.count(hash(page.data()) & 0xffffffff), 1u);
}

TEST_P(PageHash, TellsPagesApartWhoseContentsChangedPlaces) {
    auto* hash = GetParam();
    alignas(16) std::array<std::byte, 4096> page{};
    std::set<std::uint64_t> hashes;
    for (std::size_t at = 0; at < page.size(); at += 16) {
        page.fill(std::byte{1});
        page[at] = std::byte{2};
        page[(at + 128) % page.size()] = std::byte{3};
        hashes.insert(hash(page.data()));
    }
    EXPECT_EQ(hashes.size(), 256u);
}

INSTANTIATE_TEST_SUITE_P(Ways, PageHash, testing::Values(page_hash, page_hash_by_factors));

}  // namespace
}  // namespace undercroft
