// SPDX-License-Identifier: Apache-2.0
#include "boot/cpio.hpp"

#include <gtest/gtest.h>

#include <string_view>

namespace undercroft::boot {
namespace {

TEST(CpioWriter, WritesWhatLinuxUnpacks) {
    CpioWriter writer;
    writer.add_folder("dev");
    writer.add_file("dev/file", std::as_bytes(std::span{"hello", 5}), 0755);
    std::vector<std::byte> archive = std::move(writer).finish();
    std::string_view text{reinterpret_cast<const char*>(archive.data()), archive.size()};
    EXPECT_EQ(archive.size() % 4, 0u);
    EXPECT_TRUE(text.starts_with("07070100000001000041ed"));
    std::size_t file = text.find("070701", 6);
    EXPECT_EQ(file, 116u) << "110 of header, 4 of name, to a multiple of 4";
    EXPECT_EQ(text.substr(file + 14, 8), "000081ed") << "its kind and permissions";
    EXPECT_EQ(text.substr(file + 54, 8), "00000005") << "its size";
    EXPECT_EQ(text.substr(file + 110, 8), "dev/file");
    EXPECT_EQ(text.substr(file + 120, 5), "hello");
    EXPECT_NE(text.find("TRAILER!!!"), std::string_view::npos);
}

}  // namespace
}  // namespace undercroft::boot
