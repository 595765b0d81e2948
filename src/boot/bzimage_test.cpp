// SPDX-License-Identifier: Apache-2.0
#include "boot/bzimage.hpp"

#include "boot/test_kernels.hpp"

#include <gtest/gtest.h>

namespace undercroft::boot {
namespace {

using namespace test;

std::string reason(const Bytes& file) {
    const auto image = parse_bzimage(file);
    return image ? "" : image.error().message;
}

TEST(BzImage, FindsHeaderAndPayload) {
    const Bytes packed = text(300);
    const Bytes file = bzimage(setup_header(), packed);
    const auto image = parse_bzimage(file);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_TRUE(std::ranges::equal(image->payload, packed));
    EXPECT_EQ(image->header.cmdline_size, 2047u);
}

TEST(BzImage, NoSetupSectorsMeansFour) {
    const Bytes packed = text(300);
    SetupHeader header = setup_header();
    header.setup_sects = 4;
    Bytes file = bzimage(header, packed);
    file[setup_header_offset] = std::byte{0};
    const auto image = parse_bzimage(file);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_TRUE(std::ranges::equal(image->payload, packed));
}

TEST(BzImage, FieldsBeyondTheStatedEndAreZero) {
    SetupHeader header = setup_header();
    header.jump = 0x66eb;  // protocol 2.14: ends at 0x268, without kernel_info_offset
    header.kernel_info_offset = 0x12345678;
    const auto image = parse_bzimage(bzimage(header, text(300)));
    ASSERT_TRUE(image);
    EXPECT_EQ(image->header.kernel_info_offset, 0u);
    EXPECT_EQ(image->header.payload_length, 300u);
}

TEST(BzImage, EveryTruncationIsAnErrorThatSaysSo) {
    const Bytes whole = bzimage(setup_header(), text(300));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::string why = reason(prefix(whole, size));
        EXPECT_TRUE(why.starts_with(size < 0x208 ? "not a bzImage or ELF kernel" : "truncated kernel: "))
            << size << why;
    }
}

TEST(BzImage, RefusesWhatHasNo64BitEntry) {
    SetupHeader header = setup_header();
    header.xloadflags = 0;
    EXPECT_EQ(reason(bzimage(header, text(300))), "32-bit kernel (no 64-bit entry point)");
    header = setup_header();
    header.version = 0x20b;
    EXPECT_EQ(reason(bzimage(header, text(300))), "boot protocol 2.11 is too old (2.12 or later is needed)");
}

TEST(BzImage, RefusesOtherFiles) {
    EXPECT_EQ(reason(text(10'000)), "not a bzImage or ELF kernel");
    SetupHeader header = setup_header();
    header.boot_flag = 0;
    EXPECT_EQ(reason(bzimage(header, text(300))), "not a bzImage or ELF kernel");
    EXPECT_EQ(reason(bzimage(setup_header(), {})), "kernel has no payload");
}

TEST(BzImage, PayloadBoundsDoNotOverflow) {
    Bytes file = bzimage(setup_header(), text(300));
    store_at(file, setup_header_offset + offsetof(SetupHeader, payload_offset), std::uint32_t{0xffffffff});
    EXPECT_TRUE(reason(file).starts_with("truncated kernel: "));
    store_at(file, setup_header_offset + offsetof(SetupHeader, payload_length), std::uint32_t{0xffffffff});
    EXPECT_TRUE(reason(file).starts_with("truncated kernel: "));
}

}  // namespace
}  // namespace undercroft::boot
