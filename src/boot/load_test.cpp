// SPDX-License-Identifier: Apache-2.0
#include "boot/load.hpp"

#include "boot/test_kernels.hpp"
#include "x86/paging.hpp"
#include "x86/segment.hpp"

#include <gtest/gtest.h>

namespace undercroft::boot {
namespace {

using namespace test;

constexpr std::uint64_t MiB = 1 << 20;
constexpr std::uint64_t GiB = 1 << 30;

Inputs inputs(Bytes kernel_file, std::uint64_t memory) {
    auto kernel = read_kernel(std::move(kernel_file));
    CHECK(static_cast<bool>(kernel));
    Inputs made;
    made.kernel = *std::move(kernel);
    made.command_line = "console=ttyS0";
    made.ram = {{GuestPhysical{0}, std::min(memory, std::uint64_t{0xd0000000})}};
    if (memory > 0xd0000000) made.ram.push_back({GuestPhysical{4 * GiB}, memory - 0xd0000000});
    made.acpi.local_apic = GuestPhysical{0xfee00000};
    made.acpi.io_apic = GuestPhysical{0xfec00000};
    made.layout = {
        .gdt = GuestPhysical{0x6000},
        .boot_params = GuestPhysical{0x7000},
        .page_tables = GuestPhysical{0x9000},
        .stack_top = GuestPhysical{0x9000},
        .command_line = {GuestPhysical{0x20000}, 0x1000},
        .acpi = {GuestPhysical{0xe0000}, 0x20000},
    };
    return made;
}

std::string reason(Inputs given) {
    const auto image = load(std::move(given));
    return image ? "" : image.error().message;
}

ByteSpan chunk_at(const Image& image, GuestPhysical address) {
    const auto found = std::ranges::find(image.chunks, address, &Chunk::address);
    return found == image.chunks.end() ? ByteSpan{} : found->bytes;
}

TEST(Load, EverythingIsInRamAndApart) {
    Inputs given = inputs(vmlinux(), 64 * MiB);
    given.initrd = text(3 * MiB + 5);
    auto loaded = load(std::move(given));
    ASSERT_TRUE(loaded) << loaded.error().message;
    Image image = *std::move(loaded);
    std::ranges::sort(image.chunks, {}, &Chunk::address);
    GuestPhysical end{0};
    for (const Chunk& chunk : image.chunks) {
        EXPECT_GE(chunk.address, end);
        end = chunk.address + chunk.bytes.size();
    }
    EXPECT_LE(end, GuestPhysical{64 * MiB});
}

TEST(Load, KernelAndInitrdAreNotCopied) {
    Inputs given = inputs(vmlinux(), 64 * MiB);
    given.initrd = text(100);
    const std::byte* kernel = given.kernel.elf.segments[0].bytes.data();
    const std::byte* initrd = given.initrd.data();
    const auto image = load(std::move(given));
    ASSERT_TRUE(image);
    EXPECT_EQ(chunk_at(*image, GuestPhysical{vmlinux_begin}).data(), kernel);
    EXPECT_EQ(chunk_at(*image, image->initrd.base).data(), initrd);
}

TEST(Load, TrailingZerosOfASegmentAreLeftOut) {
    Bytes data = text(10'000);
    data.resize(1 * MiB);
    const auto image = load(inputs(elf(2 * MiB, {{2 * MiB, 2 * MiB, data, data.size()}}), 64 * MiB));
    ASSERT_TRUE(image) << image.error().message;
    const ByteSpan chunk = chunk_at(*image, GuestPhysical{2 * MiB});
    EXPECT_GE(chunk.size(), 10'000u);
    EXPECT_LT(chunk.size(), 10'000u + 4096);
    EXPECT_EQ(image->kernel.size, 1 * MiB);
}

TEST(Load, EntryIsTheKernelsWithTheZeroPageAtRsi) {
    Inputs given = inputs(bzimage(setup_header(), payload(Format::Zstd, vmlinux())), 64 * MiB);
    given.initrd = text(5000);
    const auto image = load(std::move(given));
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->entry.rip, GuestPhysical{vmlinux_begin});
    EXPECT_EQ(image->entry.rsi, GuestPhysical{0x7000});
    EXPECT_EQ(image->entry.rsp, GuestPhysical{0x9000});

    const ByteSpan zero_page = chunk_at(*image, image->entry.rsi);
    ASSERT_EQ(zero_page.size(), 4096u);
    const auto params = load_at<BootParams>(zero_page, 0);
    EXPECT_EQ(params.header.ramdisk_image, image->initrd.base.value());
    EXPECT_EQ(params.header.ramdisk_size, 5000u);
    EXPECT_EQ(params.acpi_rsdp_addr, 0xe0000u);
    EXPECT_EQ(params.e820_entries, 3u);
    const ByteSpan command_line = chunk_at(*image, GuestPhysical{params.header.cmd_line_ptr});
    EXPECT_STREQ(reinterpret_cast<const char*>(command_line.data()), "console=ttyS0");
    EXPECT_EQ(command_line.size(), 14u);
}

TEST(Load, GdtIsFlat) {
    const auto image = load(inputs(vmlinux(), 64 * MiB));
    ASSERT_TRUE(image);
    const ByteSpan gdt = chunk_at(*image, image->entry.gdt);
    ASSERT_EQ(gdt.size(), EntryState::gdt_limit + 1u);
    const auto code = Descriptor::expand(load_at<std::uint64_t>(gdt, EntryState::code_selector), 0x10);
    EXPECT_TRUE(code.is_64bit_code() && code.present() && code.dpl() == 0);
    EXPECT_EQ(code.limit, 0xffffffffu);
    const auto data = Descriptor::expand(load_at<std::uint64_t>(gdt, EntryState::data_selector), 0x18);
    EXPECT_TRUE(!data.is_code() && data.present() && data.base == 0);
    EXPECT_EQ(data.limit, 0xffffffffu);
}

TEST(Load, PageTablesMapFourGigabytesToThemselves) {
    const auto image = load(inputs(vmlinux(), 64 * MiB));
    ASSERT_TRUE(image);
    const ByteSpan tables = chunk_at(*image, image->entry.cr3);
    constexpr std::uint64_t frame = 0xffffffffff000;
    auto entry = [&](std::uint64_t table, std::uint64_t index) {
        return load_at<std::uint64_t>(tables, table - image->entry.cr3.value() + index * 8);
    };
    for (std::uint64_t address = 0; address < 4 * GiB; address += 2 * MiB) {
        const std::uint64_t level4 = entry(image->entry.cr3.value(), 0);
        const std::uint64_t level3 = entry(level4 & frame, address >> 30);
        const std::uint64_t level2 = entry(level3 & frame, address >> 21 & 511);
        ASSERT_EQ(level4 & level3 & (PageEntry::P | PageEntry::RW | PageEntry::PS),
                  PageEntry::P | PageEntry::RW);
        ASSERT_EQ(level2, address | PageEntry::P | PageEntry::RW | PageEntry::PS);
    }
}

TEST(Load, InitrdGoesToTheTopOfLowMemory) {
    auto base_with = [](std::uint64_t memory) {
        Inputs given = inputs(vmlinux(), memory);
        given.initrd = text(5000);
        const auto image = load(std::move(given));
        return image ? image->initrd.base.value() : 0;
    };
    EXPECT_EQ(base_with(64 * MiB), 64 * MiB - 8192);
    EXPECT_EQ(base_with(3 * GiB), 2 * GiB - 8192);  // initrd_addr_max is 0x7fffffff
    EXPECT_EQ(base_with(8 * GiB), 2 * GiB - 8192);
}

TEST(Load, InitrdMustFitAboveTheKernel) {
    auto with_initrd = [](std::uint64_t size) {
        Inputs given = inputs(vmlinux(), 32 * MiB);
        given.initrd = Bytes(size);
        return reason(std::move(given));
    };
    constexpr std::uint64_t room = 32 * MiB - vmlinux_end;
    EXPECT_EQ(with_initrd(room), "");
    EXPECT_EQ(with_initrd(room + 1),
              "initrd larger than memory: it has 14 MiB, 13 MiB are free above the kernel");
    EXPECT_EQ(with_initrd(64 * MiB),
              "initrd larger than memory: it has 64 MiB, 13 MiB are free above the kernel");
}

TEST(Load, KernelMustFit) {
    EXPECT_EQ(reason(inputs(vmlinux(), vmlinux_end)), "");
    EXPECT_EQ(reason(inputs(vmlinux(), vmlinux_end - 4096)), "memory too small: kernel needs 19 MiB");
    EXPECT_EQ(reason(inputs(vmlinux(), 0)), "memory too small: kernel needs 19 MiB");
    EXPECT_EQ(reason(inputs(elf(0xd0000000, {{0, 0xcffff000, text(16), 0x2000}}), 8 * GiB)),
              "memory too small: kernel needs 3329 MiB");
    EXPECT_EQ(reason(inputs(elf(0x8000, {{0x8000, 0x8000, text(16), 16}}), 64 * MiB)),
              "kernel asks to be loaded below 1 MiB");
}

TEST(Load, CommandLineMustFit) {
    Inputs given = inputs(vmlinux(), 64 * MiB);
    given.command_line = std::string(2048, 'x');
    EXPECT_EQ(reason(std::move(given)), "command line is too long: 2048 bytes, the kernel takes 2047");
    given = inputs(vmlinux(), 64 * MiB);
    given.command_line = std::string(2047, 'x');
    EXPECT_EQ(reason(std::move(given)), "");
    given = inputs(vmlinux(), 64 * MiB);
    given.command_line = std::string("a\0b", 3);
    EXPECT_EQ(reason(std::move(given)), "command line has a zero byte in it");
}

}  // namespace
}  // namespace undercroft::boot
