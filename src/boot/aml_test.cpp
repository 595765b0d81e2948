// SPDX-License-Identifier: Apache-2.0
#include "boot/aml.hpp"

#include <gtest/gtest.h>

namespace undercroft::boot::aml {
namespace {

TEST(Aml, IntegersTakeTheShortestForm) {
    EXPECT_EQ(integer(0), (Code{0x00}));
    EXPECT_EQ(integer(1), (Code{0x01}));
    EXPECT_EQ(integer(2), (Code{0x0a, 0x02}));
    EXPECT_EQ(integer(0x100), (Code{0x0b, 0x00, 0x01}));
    EXPECT_EQ(integer(0x12345678), (Code{0x0c, 0x78, 0x56, 0x34, 0x12}));
    EXPECT_EQ(integer(0x100000000), (Code{0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, EisaIdsAreCompressed) {
    EXPECT_EQ(eisa_id("PNP0501"), (Code{0x0c, 0x41, 0xd0, 0x05, 0x01}));
    EXPECT_EQ(eisa_id("PNP0B00"), (Code{0x0c, 0x41, 0xd0, 0x0b, 0x00}));
}

TEST(Aml, NamesArePaddedAndPathsPrefixed) {
    EXPECT_EQ(name("\\_S5", integer(0)), (Code{0x08, 0x5c, '_', 'S', '5', '_', 0x00}));
    EXPECT_EQ(name("A.BC", integer(1)), (Code{0x08, 0x2e, 'A', '_', '_', '_', 'B', 'C', '_', '_', 0x01}));
    EXPECT_EQ(name("A.B.C", integer(1)),
              (Code{0x08, 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_', 0x01}));
}

TEST(Aml, LengthsCountThemselves) {
    EXPECT_EQ(package({integer(1)}), (Code{0x12, 0x03, 0x01, 0x01}));
    // A buffer of n bytes below 256 has content of n + 2: size prefix, size, bytes.
    auto lead = [](std::size_t size) {
        const Code code = buffer(Code(size));
        return Code(code.begin() + 1, code.begin() + 5);
    };
    EXPECT_EQ(lead(60), (Code{63, 0x0a, 60, 0}));           // 1 + 62: the longest in one byte
    EXPECT_EQ(lead(61), (Code{0x41, 0x04, 0x0a, 61}));      // 2 + 63 = 0x041
    EXPECT_EQ(lead(4090), (Code{0x4f, 0xff, 0x0b, 0xfa}));  // 2 + 4093 = 0xfff: the longest in two
    EXPECT_EQ(lead(4091), (Code{0x81, 0x00, 0x01, 0x0b}));  // 3 + 4094 = 0x1001
}

TEST(Aml, MethodsHoldStatements) {
    EXPECT_EQ(method("_EVT", 1, {notify("\\_SB.PWRB", 0x80)}),
              (Code{0x14, 19,  '_', 'E', 'V', 'T', 0x09, 0x86, 0x5c, 0x2e,
                    '_',  'S', 'B', '_', 'P', 'W', 'R',  'B',  0x0a, 0x80}));
}

TEST(Aml, ResourceDescriptors) {
    EXPECT_EQ(io_ports(0x3f8, 8), (Code{0x47, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8}));
    EXPECT_EQ(memory_window(0xd0001000, 0x1000),
              (Code{0x86, 9, 0, 1, 0x00, 0x10, 0x00, 0xd0, 0x00, 0x10, 0x00, 0x00}));
    EXPECT_EQ(interrupt(4, Trigger::Edge), (Code{0x89, 6, 0, 3, 1, 4, 0, 0, 0}));
    EXPECT_EQ(interrupt(5, Trigger::Level), (Code{0x89, 6, 0, 1, 1, 5, 0, 0, 0}));
    EXPECT_EQ(resources({}), (Code{0x11, 5, 0x0a, 2, 0x79, 0}));
}

}  // namespace
}  // namespace undercroft::boot::aml
