// SPDX-License-Identifier: Apache-2.0
#include "device/io_apic.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace undercroft {
namespace {

constexpr std::uint32_t level = 0x8000, masked = 0x10000, remote_irr = 0x4000;

class IoApicTest : public testing::Test {
protected:
    std::uint64_t read(std::uint8_t reg) {
        io_apic_.write(0x00, 4, reg);
        return io_apic_.read(0x10, 4);
    }
    void write(std::uint8_t reg, std::uint32_t value) {
        io_apic_.write(0x00, 4, reg);
        io_apic_.write(0x10, 4, value);
    }
    static std::uint8_t low(unsigned pin) { return static_cast<std::uint8_t>(0x10 + 2 * pin); }
    void set_entry(unsigned pin, std::uint32_t value, std::uint32_t destination = 0) {
        write(static_cast<std::uint8_t>(low(pin) + 1), destination << 24);
        write(low(pin), value);
    }

    std::vector<InterruptMessage> sent_;
    IoApic io_apic_{[this](const InterruptMessage& message) { sent_.push_back(message); }};
};

TEST_F(IoApicTest, Registers) {
    EXPECT_EQ(read(0x01), 0x00170020u);
    write(0x00, 0xff000000);
    EXPECT_EQ(read(0x00), 0x0f000000u);
    EXPECT_EQ(read(0x02), 0x0f000000u);
    EXPECT_EQ(read(0x10), masked);
    EXPECT_EQ(read(0x3f), 0u);
    EXPECT_EQ(read(0x40), 0u);  // beyond the table
    EXPECT_EQ(read(0xff), 0u);
    write(low(2), 0xffffffff);
    EXPECT_EQ(read(low(2)), 0x0001afffu);
    EXPECT_EQ(io_apic_.read(0x00, 4), low(2));
    EXPECT_EQ(io_apic_.read(0x14, 4), 0u);
}

TEST_F(IoApicTest, EdgesSendUnlessMasked) {
    io_apic_.pulse(4);
    EXPECT_TRUE(sent_.empty());
    set_entry(4, 0x31, 2);
    EXPECT_TRUE(sent_.empty());
    io_apic_.set_level(4, true);
    io_apic_.set_level(4, true);
    std::vector<InterruptMessage> expected{{.destination = 2, .vector = 0x31}};
    EXPECT_EQ(sent_, expected);
    io_apic_.set_level(4, false);
    io_apic_.pulse(4);
    EXPECT_EQ(sent_.size(), 2u);
    io_apic_.set_level(24, true);
    io_apic_.set_level(~0u, true);
}

TEST_F(IoApicTest, MessagesCarryTheEntrysModes) {
    set_entry(9, 0x55 | level | 0x0900, 0xff);  // logical, lowest priority
    io_apic_.set_level(9, true);
    set_entry(3, 0x56, 0xff);
    io_apic_.pulse(3);
    std::vector<InterruptMessage> expected{{.destination = 0xff,
                                            .destination_mode = DestinationMode::Logical,
                                            .delivery_mode = DeliveryMode::LowestPriority,
                                            .trigger_mode = TriggerMode::Level,
                                            .vector = 0x55},
                                           {.destination = broadcast_destination, .vector = 0x56}};
    EXPECT_EQ(sent_, expected);
}

TEST_F(IoApicTest, LevelSendsAgainAfterCompletionWhileAsserted) {
    set_entry(10, 0x40 | level);
    io_apic_.set_level(10, true);
    EXPECT_EQ(sent_.size(), 1u);
    EXPECT_EQ(read(low(10)), 0x40u | level | remote_irr);
    io_apic_.set_level(10, false);
    io_apic_.set_level(10, true);
    EXPECT_EQ(sent_.size(), 1u);  // not completed yet
    io_apic_.end_of_interrupt(0x41);
    EXPECT_EQ(sent_.size(), 1u);
    io_apic_.end_of_interrupt(0x40);
    EXPECT_EQ(sent_.size(), 2u);
    io_apic_.set_level(10, false);
    io_apic_.write(0x40, 4, 0x40);  // the EOI register does the same
    EXPECT_EQ(sent_.size(), 2u);
    EXPECT_EQ(read(low(10)), 0x40u | level);
}

TEST_F(IoApicTest, UnmaskingAnAssertedLevelSends) {
    set_entry(10, 0x40 | level | masked);
    io_apic_.set_level(10, true);
    EXPECT_TRUE(sent_.empty());
    write(low(10), 0x40 | level);
    EXPECT_EQ(sent_.size(), 1u);
    write(low(10), 0x40 | level | masked);
    io_apic_.end_of_interrupt(0x40);
    EXPECT_EQ(sent_.size(), 1u);
    write(low(10), 0x40 | level);
    EXPECT_EQ(sent_.size(), 2u);
}

TEST_F(IoApicTest, BecomingEdgeTriggeredCompletes) {
    set_entry(10, 0x40 | level);
    io_apic_.set_level(10, true);
    write(low(10), 0x40 | masked);
    EXPECT_EQ(read(low(10)), 0x40u | masked);
    write(low(10), 0x40 | level);
    EXPECT_EQ(sent_.size(), 2u);
}

TEST_F(IoApicTest, ResetMasksAndKeepsTheLines) {
    set_entry(10, 0x40 | level);
    io_apic_.set_level(10, true);
    io_apic_.reset();
    EXPECT_EQ(read(low(10)), masked);
    set_entry(10, 0x41 | level);
    EXPECT_EQ(sent_.size(), 2u);
}

}  // namespace
}  // namespace undercroft
