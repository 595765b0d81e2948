// SPDX-License-Identifier: Apache-2.0
#include "device/port61.hpp"
#include "device/post_port.hpp"

#include <gtest/gtest.h>

namespace undercroft {
namespace {

TEST(Port61, TimerOutputIsSetAndRefreshToggles) {
    Port61 port;
    Device& device = port;
    std::uint64_t first = device.read(0, 1);
    EXPECT_EQ(first & 0x20, 0x20u);
    EXPECT_EQ(device.read(0, 1) ^ first, 0x10u);
    device.write(0, 1, 0xff);
    EXPECT_EQ(device.read(0, 1) & ~std::uint64_t{0x10}, 0x2fu);
}

TEST(PostPort, IsQuiet) {
    PostPort port;
    port.write(0, 1, 0x55);
    EXPECT_EQ(port.read(0, 1) & 0xff, 0xffu);
}

}  // namespace
}  // namespace undercroft
