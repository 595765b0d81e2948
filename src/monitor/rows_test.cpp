// SPDX-License-Identifier: Apache-2.0
#include "monitor/rows.hpp"
#include "monitor/recent_output.hpp"

#include <gtest/gtest.h>

namespace undercroft {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

struct RowsTest : testing::Test {
    Rows rows{{"web", "data"}, false, "\n"};

    std::string add(unsigned machine, std::string_view text) { return rows.add(machine, bytes_of(text)); }
};

TEST_F(RowsTest, BeginWithTheName) {
    EXPECT_EQ(add(0, "one\r\ntwo\n"), "web  | one\nweb  | two\n");
    EXPECT_EQ(add(1, "\n"), "data | \n");
    EXPECT_EQ((Rows{{"a", "b", "c"}, true, "\r\n"}.add(1, bytes_of("x\n"))), "\x1b[33mb | \x1b[0mx\r\n");
}

TEST_F(RowsTest, LinesComeWhole) {
    EXPECT_EQ(add(0, "half "), "");
    EXPECT_EQ(add(1, "other\n"), "data | other\n");
    EXPECT_TRUE(rows.holds_something());
    EXPECT_EQ(add(0, "a line\n"), "web  | half a line\n");
    EXPECT_FALSE(rows.holds_something());
}

TEST_F(RowsTest, LinesThatDoNotEndAreShownLater) {
    EXPECT_EQ(add(0, "login: "), "");
    EXPECT_EQ(rows.flush(), "web  | login: ");
    EXPECT_FALSE(rows.holds_something());
    EXPECT_EQ(rows.flush(), "");
    EXPECT_EQ(add(0, "me\n"), "me\n") << "goes on in its row";
    add(0, "more");
    rows.flush();
    EXPECT_EQ(add(1, "between\n"), "\ndata | between\n");
    EXPECT_EQ(add(0, " of it\n"), "web  | more of it\n") << "whole again";
    EXPECT_EQ(rows.end_row(), "");
}

TEST_F(RowsTest, TheEagerMachineIsNotHeldBack) {
    rows.set_eager(1);
    EXPECT_EQ(add(1, "# "), "data | # ");
    EXPECT_EQ(add(1, "l"), "l");
    EXPECT_EQ(add(1, "\b \bps\r\n"), "\b \bps\n");
    EXPECT_FALSE(rows.holds_something());
    EXPECT_EQ(add(1, "lx\b \b"), "data | lx\b \b");
    EXPECT_EQ(add(0, "between\n"), "\nweb  | between\n");
    EXPECT_EQ(add(1, "s\n"), "data | ls\n") << "what was cut off is there again";
}

TEST_F(RowsTest, LongLinesArePassedOnInPieces) {
    std::string text(Rows::longest * 3 + 10, 'x');
    std::string out = add(0, text);
    EXPECT_EQ(out.size(), 7 + 3 * Rows::longest);
    out += rows.flush();
    EXPECT_TRUE(out == "web  | " + text);
}

TEST_F(RowsTest, NothingLeavesItsRow) {
    EXPECT_EQ(add(0, "a\x1b[2Jb\x1b[31;1mc\x1b]0;title\ad\x1b(Be\x1b]0;t\x1b\\f\n"), "web  | abcdef\n");
    EXPECT_EQ(add(0, "a\rdata | b\x7f\x01\v\f\n"), "web  | adata | b\n");
    EXPECT_EQ(add(0, "ab\b\b\b\b\bc\td\n"), "web  | ab\b\bc\td\n") << "not back into the name";
    EXPECT_EQ(add(0, "\x1b["), "");
    EXPECT_EQ(add(1, "[2J\n"), "data | [2J\n") << "each machine has its own sequences";
    EXPECT_EQ(add(0, "2Jx\n"), "web  | x\n");
    EXPECT_EQ(add(0, "\x1b[12\nx\n"), "web  | \nweb  | x\n") << "a sequence ends with its line";
    EXPECT_EQ(add(0, "h\xc3\xa9\n"), "web  | h\xc3\xa9\n");
}

TEST(RecentOutputTest, KeepsTheNewest) {
    RecentOutput recent;
    EXPECT_EQ(recent.text(), "");
    recent.add(bytes_of("one\ntwo"));
    EXPECT_EQ(recent.text(), "one\ntwo");
    std::string all = "one\ntwo";
    for (int n = 0; n < 10000; ++n) {
        std::string line = "line " + std::to_string(n) + "\n";
        recent.add(bytes_of(line));
        all += line;
    }
    std::string text = recent.text();
    EXPECT_TRUE(text.starts_with("line "));
    EXPECT_TRUE(all.ends_with("\n" + text));
    EXPECT_LE(text.size(), RecentOutput::capacity);
    EXPECT_GE(text.size(), RecentOutput::capacity - 20);
    std::string large(3 * RecentOutput::capacity, 'x');
    recent.add(bytes_of(large));
    EXPECT_EQ(recent.text(), large.substr(0, RecentOutput::capacity));
}

}  // namespace
}  // namespace undercroft
