// SPDX-License-Identifier: Apache-2.0
#include "boot/kernel.hpp"

#include "boot/test_kernels.hpp"

#include <gtest/gtest.h>

namespace undercroft::boot {
namespace {

using namespace test;

std::string reason(Bytes file) {
    const auto kernel = read_kernel(std::move(file));
    return kernel ? "" : kernel.error().message;
}

TEST(ReadKernel, BzImageWithEveryCompression) {
    for (const Format format : formats) {
        auto kernel = read_kernel(bzimage(setup_header(), payload(format, vmlinux())));
        ASSERT_TRUE(kernel) << kernel.error().message;
        const Kernel moved = *std::move(kernel);
        EXPECT_EQ(moved.elf.entry, GuestPhysical{vmlinux_begin});
        EXPECT_TRUE(std::ranges::equal(moved.elf.segments[0].bytes, text(5000)));
        EXPECT_TRUE(moved.file.empty());
    }
}

TEST(ReadKernel, PlainElfGetsAHeader) {
    const auto kernel = read_kernel(vmlinux());
    ASSERT_TRUE(kernel) << kernel.error().message;
    EXPECT_EQ(kernel->header.header, SetupHeader::header_magic);
    EXPECT_EQ(kernel->header.xloadflags, SetupHeader::XLF_KERNEL_64);
    EXPECT_EQ(kernel->header.init_size, vmlinux_end - vmlinux_begin);
    EXPECT_TRUE(std::ranges::equal(kernel->elf.segments[0].bytes, text(5000)));
}

TEST(ReadKernel, EveryTruncationIsAnError) {
    const Bytes whole =
        bzimage(setup_header(), payload(Format::Zstd, elf(0x200000, {{0x200000, 0x200000, text(99), 99}})));
    EXPECT_EQ(reason(whole), "");
    EXPECT_EQ(reason({}), "empty file");
    for (std::size_t size = 1; size < whole.size(); ++size)
        EXPECT_NE(reason(prefix(whole, size)), "") << size;
}

TEST(ReadKernel, ReasonsReachTheCaller) {
    EXPECT_EQ(reason(text(2000)), "not a bzImage or ELF kernel");
    Bytes inner = vmlinux();
    inner[EI_CLASS] = std::byte{ELFCLASS32};
    EXPECT_EQ(reason(inner), "32-bit kernel");
    EXPECT_EQ(reason(bzimage(setup_header(), payload(Format::Lz4, inner))), "payload: 32-bit kernel");
    EXPECT_EQ(reason(bzimage(setup_header(), payload(Format::Xz, text(500)))), "payload: not an ELF file");
}

}  // namespace
}  // namespace undercroft::boot
