// SPDX-License-Identifier: Apache-2.0
#include "boot/boot_params.hpp"

#include <asm/bootparam.h>
#include <gtest/gtest.h>

namespace undercroft::boot {
namespace {

// Linux's own header is the oracle for the layout.
#define SAME_OFFSET(ours, theirs) static_assert(offsetof(BootParams, ours) == offsetof(::boot_params, theirs))
static_assert(sizeof(BootParams) == sizeof(::boot_params));
SAME_OFFSET(acpi_rsdp_addr, acpi_rsdp_addr);
SAME_OFFSET(ext_ramdisk_image, ext_ramdisk_image);
SAME_OFFSET(ext_ramdisk_size, ext_ramdisk_size);
SAME_OFFSET(ext_cmd_line_ptr, ext_cmd_line_ptr);
SAME_OFFSET(e820_entries, e820_entries);
SAME_OFFSET(sentinel, sentinel);
SAME_OFFSET(header, hdr);
SAME_OFFSET(e820_table, e820_table);
#undef SAME_OFFSET
#define SAME_FIELD(name) static_assert(offsetof(SetupHeader, name) == offsetof(::setup_header, name))
SAME_FIELD(boot_flag);
SAME_FIELD(version);
SAME_FIELD(type_of_loader);
SAME_FIELD(loadflags);
SAME_FIELD(ramdisk_image);
SAME_FIELD(ramdisk_size);
SAME_FIELD(cmd_line_ptr);
SAME_FIELD(initrd_addr_max);
SAME_FIELD(xloadflags);
SAME_FIELD(cmdline_size);
SAME_FIELD(payload_offset);
SAME_FIELD(payload_length);
SAME_FIELD(setup_data);
SAME_FIELD(pref_address);
SAME_FIELD(init_size);
#undef SAME_FIELD
static_assert(sizeof(E820Entry) == sizeof(::boot_e820_entry));
static_assert(BootParams::max_e820_entries == E820_MAX_ENTRIES_ZEROPAGE);

constexpr std::uint64_t MiB = 1 << 20;
constexpr std::uint64_t GiB = 1 << 30;

SetupHeader header() {
    SetupHeader made;
    made.cmdline_size = 2047;
    made.kernel_alignment = 0x200000;
    made.setup_data = 0xdead;
    return made;
}

TEST(BootParams, HeaderIsCopiedAndFilledIn) {
    const auto params = make_boot_params({
        .header = header(),
        .command_line = GuestPhysical{0x20000},
        .command_line_size = 2047,
        .initrd = {GuestPhysical{0x8000000}, 12345},
        .rsdp = GuestPhysical{0xe0000},
        .e820 = {{0, 4096, E820Type::Ram}},
    });
    ASSERT_TRUE(params) << params.error().message;
    EXPECT_EQ(params->header.kernel_alignment, 0x200000u);
    EXPECT_EQ(params->header.type_of_loader, 0xffu);
    EXPECT_EQ(params->header.loadflags & 1, 1);
    EXPECT_EQ(params->header.setup_data, 0u);
    EXPECT_EQ(params->header.cmd_line_ptr, 0x20000u);
    EXPECT_EQ(params->header.ramdisk_image, 0x8000000u);
    EXPECT_EQ(params->header.ramdisk_size, 12345u);
    EXPECT_EQ(params->acpi_rsdp_addr, 0xe0000u);
    EXPECT_EQ(params->e820_entries, 1u);
    EXPECT_EQ(params->sentinel, 0u);
}

TEST(BootParams, HighHalvesOfTheInitrd) {
    const auto params = make_boot_params({.header = header(), .initrd = {GuestPhysical{5 * GiB}, 6 * GiB}});
    ASSERT_TRUE(params);
    EXPECT_EQ(params->header.ramdisk_image, 0x40000000u);
    EXPECT_EQ(params->ext_ramdisk_image, 1u);
    EXPECT_EQ(params->header.ramdisk_size, 0x80000000u);
    EXPECT_EQ(params->ext_ramdisk_size, 1u);
}

TEST(BootParams, NoInitrdLeavesNoTrace) {
    const auto params = make_boot_params({.header = header(), .initrd = {GuestPhysical{0x1000}, 0}});
    ASSERT_TRUE(params);
    EXPECT_EQ(params->header.ramdisk_image, 0u);
    EXPECT_EQ(params->header.ramdisk_size, 0u);
}

TEST(BootParams, CommandLineHasAMaximum) {
    const auto params = make_boot_params({.header = header(), .command_line_size = 2048});
    ASSERT_FALSE(params);
    EXPECT_EQ(params.error().message, "command line is too long: 2048 bytes, the kernel takes 2047");
}

void expect_e820(const std::vector<E820Entry>& got, const std::vector<E820Entry>& wanted) {
    ASSERT_EQ(got.size(), wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(std::uint64_t{got[i].address}, std::uint64_t{wanted[i].address}) << i;
        EXPECT_EQ(std::uint64_t{got[i].size}, std::uint64_t{wanted[i].size}) << i;
        EXPECT_EQ(static_cast<int>(got[i].type), static_cast<int>(wanted[i].type)) << i;
    }
}

constexpr MemoryRange acpi{GuestPhysical{0xe0000}, 0x10000};

TEST(E820, SmallMachine) {
    expect_e820(make_e820({{GuestPhysical{0}, 256 * MiB}}, acpi), {{0, 0xa0000, E820Type::Ram},
                                                                   {0xe0000, 0x10000, E820Type::Acpi},
                                                                   {0x100000, 255 * MiB, E820Type::Ram}});
}

TEST(E820, MemoryOnBothSidesOfTheDeviceHole) {
    expect_e820(make_e820({{GuestPhysical{0}, 0xd0000000}, {GuestPhysical{4 * GiB}, 2 * GiB}}, acpi),
                {{0, 0xa0000, E820Type::Ram},
                 {0xe0000, 0x10000, E820Type::Acpi},
                 {0x100000, 0xd0000000 - 0x100000, E820Type::Ram},
                 {4 * GiB, 2 * GiB, E820Type::Ram}});
}

TEST(E820, MemoryThatEndsInTheLegacyHole) {
    expect_e820(make_e820({{GuestPhysical{0}, 0xf0000}}, acpi),
                {{0, 0xa0000, E820Type::Ram}, {0xe0000, 0x10000, E820Type::Acpi}});
}

}  // namespace
}  // namespace undercroft::boot
