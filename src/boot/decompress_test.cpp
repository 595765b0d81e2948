// SPDX-License-Identifier: Apache-2.0
#include "boot/decompress.hpp"

#include "boot/test_kernels.hpp"

#include <gtest/gtest.h>

namespace undercroft::boot {
namespace {

using namespace test;

// Damage may hit the size field; keep what it can make us allocate small.
constexpr std::size_t limit = 1 << 20;

bool equal(ByteSpan a, ByteSpan b) { return std::ranges::equal(a, b); }

TEST(Decompress, EveryFormatGivesBackWhatWasPacked) {
    for (const Format format : formats)
        for (const std::size_t size : {1u, 100u, 100'000u}) {
            const Bytes plain = text(size);
            const auto unpacked = decompress(payload(format, plain), limit);
            ASSERT_TRUE(unpacked) << unpacked.error().message;
            EXPECT_TRUE(equal(unpacked->span(), plain));
        }
}

TEST(Decompress, Lz4PayloadsHaveSeveralBlocks) {
    const Bytes plain = text((std::size_t{20} << 20) + 5);
    const auto unpacked = decompress(payload(Format::Lz4, plain));
    ASSERT_TRUE(unpacked) << unpacked.error().message;
    EXPECT_TRUE(equal(unpacked->span(), plain));
}

TEST(Decompress, EveryTruncationIsAnError) {
    for (const Format format : formats) {
        const Bytes whole = payload(format, text(400));
        for (std::size_t size = 0; size < whole.size(); ++size)
            EXPECT_FALSE(decompress(prefix(whole, size), limit))
                << static_cast<int>(format) << " at " << size;
    }
}

TEST(Decompress, DamageNeverGoesBeyondTheBuffers) {
    for (const Format format : formats) {
        const Bytes whole = payload(format, text(400));
        for (std::size_t at = 0; at < whole.size(); ++at)
            for (const auto flip : {std::byte{0x01}, std::byte{0x80}, std::byte{0xff}}) {
                Bytes damaged = whole;
                damaged[at] ^= flip;
                (void)decompress(damaged, limit);  // an error, or the format has no check there
            }
    }
}

TEST(Decompress, SizeMustBeExact) {
    for (const Format format : formats)
        for (const std::uint32_t size : {0u, 399u, 401u}) {
            Bytes wrong = payload(format, text(400));
            store_at(wrong, wrong.size() - 4, size);
            EXPECT_FALSE(decompress(wrong, limit)) << static_cast<int>(format) << " as " << size;
        }
}

TEST(Decompress, ReasonsNameTheFormat) {
    Bytes damaged = payload(Format::Xz, text(400));
    damaged[damaged.size() / 2] ^= std::byte{0xff};
    EXPECT_EQ(decompress(damaged).error().message, "payload is corrupt (xz: damaged data)");

    Bytes huge = payload(Format::Zstd, text(400));
    store_at(huge, huge.size() - 4, std::uint32_t{0xffffffff});
    EXPECT_EQ(decompress(huge).error().message, "payload is corrupt (zstd: 4294967295 bytes claimed)");
}

TEST(Decompress, UnknownAndUnsupportedFormats) {
    EXPECT_EQ(decompress({}).error().message, "payload compression is not known");
    EXPECT_EQ(decompress(Bytes(100)).error().message, "payload compression is not known");
    Bytes bzip2{std::byte{'B'}, std::byte{'Z'}, std::byte{'h'}, std::byte{'9'}, std::byte{0}};
    EXPECT_EQ(decompress(bzip2).error().message, "payload compression is not supported (bzip2)");
}

}  // namespace
}  // namespace undercroft::boot
