// SPDX-License-Identifier: Apache-2.0
#include "virtio/entropy.hpp"

#include "virtio/test_driver.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

struct EntropyTest : testing::Test {
    static constexpr std::uint64_t buffer = 0x8000;

    TestMemory memory;
    std::mutex lock;
    bool line = false;
    VirtioEntropy device{memory.device(), lock};
    MmioTransport transport{device, memory.device(), [this](bool level) { line = level; }, "entropy"};

    void serve() {
        {
            std::lock_guard held{lock};
            test::write(transport, Reg::QueueNotify, 0);
        }
        device.serve();
    }
    unsigned zeroes(std::uint64_t from, unsigned size) const {
        unsigned count = 0;
        for (unsigned n = 0; n < size; ++n) count += memory.get<std::uint8_t>(from + n) == 0 ? 1 : 0;
        return count;
    }
};

TEST_F(EntropyTest, FillsBuffers) {
    EXPECT_EQ(transport.read(0x008, 4), 4u);
    start_driver(transport);
    memory.offer(0, {{buffer, 100, flag::write}, {buffer + 0x2000, 900, flag::write}});
    serve();
    EXPECT_EQ(memory.used_element(0).second, 1000u);
    EXPECT_LT(zeroes(buffer, 100), 20u);
    EXPECT_LT(zeroes(buffer + 0x2000, 900), 60u);
    EXPECT_EQ(zeroes(buffer + 100, 100), 100u) << "and nothing beside them";
    EXPECT_TRUE(line);
}

TEST_F(EntropyTest, GivesSoMuchAtOnce) {
    start_driver(transport);
    memory.offer(0, {{buffer, 0x18000, flag::write}, {buffer + 0x18000, 16, flag::write}});
    serve();
    EXPECT_EQ(memory.used_element(0).second, VirtioEntropy::most_at_once);
    EXPECT_EQ(zeroes(buffer + 0x18000, 16), 16u);
}

TEST_F(EntropyTest, ARequestWithoutRoomIsGivenBackEmpty) {
    start_driver(transport);
    memory.offer(0, {{buffer, 100}});
    serve();
    EXPECT_EQ(memory.used_index(), 1);
    EXPECT_EQ(memory.used_element(0).second, 0u);
}

}  // namespace
}  // namespace undercroft::test
