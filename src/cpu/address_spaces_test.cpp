// SPDX-License-Identifier: Apache-2.0
#include "cpu/address_spaces.hpp"

#include "cpu/instructions.hpp"
#include "cpu/test_machine.hpp"

#include <algorithm>

namespace undercroft::test {
namespace {

std::vector<std::uint64_t> all(const AddressSpaces& spaces) {
    std::vector<std::uint64_t> pages;
    spaces.since(0, pages);
    std::sort(pages.begin(), pages.end());
    return pages;
}

TEST(AddressSpaces, CountsChangesNotLoads) {
    AddressSpaces spaces;
    for (std::uint64_t cr3 : {0x1000u, 0x1000u, 0x2000u, 0x1000u, 0x1018u}) spaces.loaded(cr3);
    EXPECT_EQ(spaces.switches(), 3u);
    EXPECT_EQ(all(spaces), (std::vector<std::uint64_t>{1, 2}));
}

TEST(AddressSpaces, ContextNumbersAreNoPartOfThem) {
    AddressSpaces spaces;
    spaces.loaded(0x5001);
    spaces.loaded(1ull << 63 | 0x5002);
    EXPECT_EQ(spaces.switches(), 1u);
    EXPECT_EQ(all(spaces), std::vector<std::uint64_t>{5});
}

TEST(AddressSpaces, ForgetsThoseThatDidNotRunLately) {
    AddressSpaces spaces;
    spaces.loaded(0x1000);
    std::uint64_t later = __builtin_ia32_rdtsc();
    spaces.loaded(0x2000);
    std::vector<std::uint64_t> pages;
    spaces.since(later, pages);
    EXPECT_EQ(pages, std::vector<std::uint64_t>{2});
}

TEST(AddressSpaces, AnyNumberOfThemTakesNoMoreRoom) {
    AddressSpaces spaces;
    for (std::uint64_t page = 1; page <= 100'000; ++page) spaces.loaded(page << 12);
    EXPECT_EQ(spaces.switches(), 100'000u);
    EXPECT_GT(all(spaces).size(), 500u);
    EXPECT_LE(all(spaces).size(), 1024u);
}

}  // namespace
}  // namespace undercroft::test
