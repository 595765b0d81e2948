// SPDX-License-Identifier: Apache-2.0
#include "memory/compressed_store.hpp"

#include "memory/page_compression.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <vector>

namespace undercroft {
namespace {

using Page = std::array<std::uint64_t, 512>;

std::byte* bytes_of(Page& page) { return reinterpret_cast<std::byte*>(page.data()); }

// Like a kernel's table: `of_ten` of ten words are anything, the others zero, repeated, or pointers.
Page table(std::mt19937_64& random, unsigned of_ten) {
    Page page{};
    for (std::uint64_t& word : page) {
        if (random() % 10 < of_ten) {
            word = random();
            continue;
        }
        switch (random() % 4) {
            case 0: word = 0xffff'8880'0412'0000 | random() % 0x10000; break;
            case 1: word = page[random() % 512]; break;
            case 2: word = random() % 8; break;
            default: break;
        }
    }
    return page;
}

std::size_t size_of(const Page& page) {
    std::array<std::byte, 8192> to;
    return compress_page(reinterpret_cast<const std::byte*>(page.data()), to);
}

TEST(PageCompression, EachKindOfWordTakesItsBytes) {
    constexpr std::size_t kinds = 128;
    Page page{};
    EXPECT_EQ(size_of(page), kinds);
    page[17] = 0x1234'5678'0000'0000;
    EXPECT_EQ(size_of(page), kinds + 8);  // new
    page[511] = 0x1234'5678'0000'0000;
    EXPECT_EQ(size_of(page), kinds + 8 + 1);  // known
    page[200] = 0x1234'5678'0000'ffff;
    EXPECT_EQ(size_of(page), kinds + 8 + 3 + 3);  // near, and the one behind near to that
    page[3] = 9;
    EXPECT_EQ(size_of(page), kinds + 8 + 3 + 3 + 3);  // near to zero
    std::mt19937_64 random{1};
    std::generate(page.begin(), page.end(), random);
    EXPECT_EQ(size_of(page), kinds + page.size() * 8);
}

TEST(PageCompression, PagesComeBackAsTheyWere) {
    std::mt19937_64 random{2};
    for (unsigned n = 0; n < 3000; ++n) {
        Page page = table(random, n % 11);
        std::array<std::byte, 8192> small;
        std::size_t size = compress_page(bytes_of(page), small);
        ASSERT_GT(size, 0u);
        Page back;
        back.fill(0x55);
        expand_page(std::span{small}.first(size), bytes_of(back));
        ASSERT_EQ(back, page) << n;
        // One byte less does not do, and is not exceeded.
        std::byte behind = small[size - 1] = std::byte{0xaa};
        EXPECT_EQ(compress_page(bytes_of(page), std::span{small}.first(size - 1)), 0u);
        EXPECT_EQ(small[size - 1], behind);
    }
}

// AddressSanitizer sees whether they stay within their bounds.
TEST(PageCompression, ExpandsAnythingToOnePage) {
    std::mt19937_64 random{3};
    for (unsigned n = 0; n < 3000; ++n) {
        std::vector<std::byte> garbage(random() % 5000);
        for (std::byte& byte : garbage) byte = static_cast<std::byte>(random());
        auto page = std::make_unique<Page>();
        expand_page(garbage, bytes_of(*page));
    }
}

struct Store : testing::Test {
    std::shared_ptr<FramePool> pool = *FramePool::create();
    CompressedStore& store = pool->compressed();
    std::mt19937_64 random{4};
};

TEST_F(Store, SeveralPagesLieInAFrame) {
    std::vector<std::uint32_t> places;
    for (std::uint64_t n = 0; n < 16; ++n) {
        Page page{};
        page[n] = n + 1;
        places.push_back(store.put(bytes_of(page)).value());
    }
    EXPECT_EQ(store.pages(), 16u);
    EXPECT_EQ(store.frames(), 1u);
    for (std::uint64_t n = 0; n < 16; ++n) {
        Page page;
        store.get(places[n], bytes_of(page));
        EXPECT_EQ(page[n], n + 1);
        EXPECT_EQ(std::ranges::count(page, 0u), 511);
        store.release(places[n]);
    }
    EXPECT_EQ(store.frames(), 0u);
    EXPECT_LE(pool->in_use(), FrameBatch::most);
}

TEST_F(Store, RefusesWhatStaysLarge) {
    Page page = table(random, 10);
    EXPECT_FALSE(store.put(bytes_of(page)));
    EXPECT_EQ(store.pages(), 0u);
}

TEST_F(Store, AgreesWithAModel) {
    std::map<std::uint32_t, Page> model;
    for (unsigned n = 0; n < 20000; ++n) {
        if (model.empty() || random() % 1000 < (n / 5000 % 2 == 0 ? 600u : 450u)) {
            Page page = table(random, static_cast<unsigned>(random() % 4));
            auto place = store.put(bytes_of(page));
            if (!place) continue;
            ASSERT_TRUE(model.emplace(*place, page).second) << "in use already";
        } else {
            auto found =
                model.lower_bound(static_cast<std::uint32_t>(random() % (model.rbegin()->first + 1)));
            Page page;
            store.get(found->first, bytes_of(page));
            ASSERT_EQ(page, found->second);
            store.release(found->first);
            model.erase(found);
        }
        ASSERT_EQ(store.pages(), model.size());
        ASSERT_LE(store.frames(), store.pages());
    }
    ASSERT_GT(model.size(), 100u);
    EXPECT_LT(store.frames(), store.pages() / 2 + 10);
    for (const auto& [place, page] : model) store.release(place);
    EXPECT_EQ(store.frames(), 0u);
    EXPECT_LE(pool->in_use(), FrameBatch::most);
}

}  // namespace
}  // namespace undercroft
