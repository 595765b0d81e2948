// SPDX-License-Identifier: Apache-2.0
#include "device/acpi_power.hpp"

#include <gtest/gtest.h>

namespace undercroft {
namespace {

class AcpiPowerTest : public testing::Test {
protected:
    unsigned offs_ = 0, resets_ = 0;
    AcpiPower power_{{.power_off = [this] { ++offs_; }, .reset = [this] { ++resets_; }}};
    Device& device_ = power_;
};

TEST_F(AcpiPowerTest, OnlySoftOffWithEnablePowersOff) {
    device_.write(AcpiPower::sleep_status, 1, 0x80);  // Linux clears WAK_STS first
    EXPECT_EQ(device_.read(AcpiPower::sleep_status, 1), 0u);
    device_.write(AcpiPower::sleep_control, 1, 5 << 2);
    EXPECT_EQ(device_.read(AcpiPower::sleep_control, 1), 5u << 2);
    device_.write(AcpiPower::sleep_control, 1, 0x20 | 3 << 2);
    EXPECT_EQ(offs_, 0u);
    device_.write(AcpiPower::sleep_control, 1, 0x20 | 5 << 2);
    EXPECT_EQ(offs_, 1u);
    EXPECT_EQ(device_.read(AcpiPower::sleep_control, 1), 5u << 2);
}

TEST_F(AcpiPowerTest, OnlyTheResetValueResets) {
    device_.write(AcpiPower::reset_register, 1, AcpiPower::reset_value + 1);
    EXPECT_EQ(resets_, 0u);
    device_.write(AcpiPower::reset_register, 1, AcpiPower::reset_value);
    EXPECT_EQ(resets_, 1u);
    EXPECT_EQ(offs_, 0u);
}

}  // namespace
}  // namespace undercroft
