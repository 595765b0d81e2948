// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/decode/code_window.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace undercroft::translate {
namespace {

TEST(CodeWindow, ShowsWhatItHasShownBefore) {
    auto page = std::make_unique<std::array<std::byte, page_size>>();
    page->fill(std::byte{0x90});
    CodePages pages{1};
    CodeWindow window;
    window.open(page->data(), pages, GuestPhysical{0});
    auto first = window.bytes(60, 15);  // of two pieces
    ASSERT_EQ(first.size(), 15u);
    page->fill(std::byte{0xcc});
    EXPECT_EQ(first[0], std::byte{0x90});
    for (std::byte byte : window.bytes(0, 128)) EXPECT_EQ(byte, std::byte{0x90});
    EXPECT_EQ(window.bytes(128, 1)[0], std::byte{0xcc}) << "asked for only now";
    window.open(page->data(), pages, GuestPhysical{0});
    EXPECT_EQ(window.bytes(60, 1)[0], std::byte{0xcc}) << "opened again";
}

TEST(CodeWindow, EndsWithThePage) {
    auto page = std::make_unique<std::array<std::byte, page_size>>();
    page->fill(std::byte{0x90});
    CodePages pages{1};
    CodeWindow window;
    window.open(page->data(), pages, GuestPhysical{0});
    EXPECT_EQ(window.bytes(page_size - 3, 15).size(), 3u);
    EXPECT_TRUE(window.bytes(page_size, 15).empty());
}

}  // namespace
}  // namespace undercroft::translate
