// SPDX-License-Identifier: Apache-2.0
#include "disk/qcow2_header.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace undercroft {
namespace {

Qcow2Header small_header() {
    Qcow2Header header;
    header.size = 1 << 20;
    header.l1_entries = 1;
    header.l1_offset = 3 << 16;
    header.refcount_table_offset = 1 << 16;
    header.refcount_table_clusters = 1;
    return header;
}

TEST(Qcow2Header, ParsesWhatItSerialises) {
    Qcow2Header header = small_header();
    header.backing_file = "base images/debian.img";
    header.backing_format = "raw";
    auto parsed = Qcow2Header::parse(header.serialise());
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->version, 3u);
    EXPECT_EQ(parsed->size, header.size);
    EXPECT_EQ(parsed->l1_offset, header.l1_offset);
    EXPECT_EQ(parsed->backing_file, header.backing_file);
    EXPECT_EQ(parsed->backing_format, "raw");
    EXPECT_EQ(parsed->refcount_order, 4u);
}

TEST(Qcow2Header, RefusesWhatIsDamagedOrUnknown) {
    using Bytes = std::vector<std::byte>;
    struct Case {
        const char* expected;
        std::function<void(Bytes&)> damage;
    };
    auto put32 = [](std::size_t at, std::uint32_t value) {
        return [=](Bytes& bytes) { store_big(bytes.data() + at, value); };
    };
    auto put64 = [](std::size_t at, std::uint64_t value) {
        return [=](Bytes& bytes) { store_big(bytes.data() + at, value); };
    };
    const Case cases[] = {
        {"not a qcow2 image", put32(0, 0)},
        {"shorter than a header", [](Bytes& bytes) { bytes.resize(71); }},
        {"version 4", put32(4, 4)},
        {"clusters of 2^8", put32(20, 8)},
        {"clusters of 2^22", put32(20, 22)},
        {"encrypted", put32(32, 1)},
        {"no bytes", put64(24, 0)},
        {"not a multiple of 512", put64(24, 1000)},
        {"too short for the disk", put64(24, 1ull << 40)},
        {"larger than 32 MiB", put32(36, 0xffffffff)},
        {"does not begin with a cluster", put64(40, 3 << 15)},
        {"does not begin with a cluster", put64(48, 1ull << 60)},
        {"8 MiB", put32(56, 129)},
        {"8 MiB", put32(56, 0)},
        {"external data file", put64(72, 4)},
        {"subclusters", put64(72, 16)},
        {"unknown incompatible features 0x100", put64(72, 0x100)},
        {"order 7", put32(96, 7)},
        {"header of 96 bytes", put32(100, 96)},
        {"unknown compression 2", [](Bytes& bytes) { bytes[104] = std::byte{2}; }},
        {"outside its header", put64(8, 1 << 20)},
        {"without an end", [](Bytes& bytes) { bytes.resize(112); }},
        {"without an end", put32(116, 0xfffffff0)},
    };
    for (const Case& each : cases) {
        Qcow2Header header = small_header();
        header.backing_file = "base";
        header.backing_format = "raw";
        Bytes bytes = header.serialise();
        each.damage(bytes);
        auto parsed = Qcow2Header::parse(bytes);
        ASSERT_FALSE(parsed) << each.expected;
        EXPECT_NE(parsed.error().message.find(each.expected), std::string::npos) << parsed.error().message;
    }
}

}  // namespace
}  // namespace undercroft
