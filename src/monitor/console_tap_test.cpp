// SPDX-License-Identifier: Apache-2.0
#include "monitor/console_tap.hpp"

#include <gtest/gtest.h>

namespace undercroft {
namespace {

void add(ConsoleTap& tap, std::string_view text) { tap.add(std::as_bytes(std::span{text})); }

TEST(ConsoleTap, ListenersBeginWithTheNewestOutputAndGetTheRest) {
    ConsoleTap tap;
    add(tap, "before\n");
    int heard = 0;
    auto listener = tap.listen([&] { ++heard; });
    EXPECT_EQ(heard, 1);
    EXPECT_EQ(listener->take(), "before\n");
    EXPECT_EQ(listener->take(), "");
    add(tap, "a");
    add(tap, "b");
    EXPECT_EQ(heard, 2) << "told once until it takes";
    EXPECT_EQ(listener->take(), "ab");
    tap.forget(*listener);
    add(tap, "c");
    EXPECT_EQ(heard, 2);
    EXPECT_EQ(listener->take(), "");
}

TEST(ConsoleTap, ASlowListenerMissesBytesAndIsTold) {
    ConsoleTap tap;
    auto slow = tap.listen([] {});
    auto other = tap.listen([] {});
    std::string most(ConsoleTap::Listener::capacity, 'x');
    add(tap, most);
    EXPECT_EQ(other->take(), most);
    add(tap, "missed");
    add(tap, ", too");
    EXPECT_EQ(other->take(), "missed, too");
    EXPECT_EQ(slow->take(), most + "\r\n[undercroft: 11 bytes are missing here]\r\n");
    add(tap, "after");
    EXPECT_EQ(slow->take(), "after");
}

}  // namespace
}  // namespace undercroft
