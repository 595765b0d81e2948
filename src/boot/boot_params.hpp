// SPDX-License-Identifier: Apache-2.0
// The zero page (struct boot_params): what a Linux kernel finds at RSI when it starts.
//
// Source: Linux Documentation/arch/x86/zero-page.rst, arch/x86/include/uapi/asm/bootparam.h. What stays zero
// on purpose: screen_info (zero lines and columns mean that there is no VGA), APM, EFI, EDD, the old memory
// sizes.

#pragma once

#include "base/result.hpp"
#include "boot/setup_header.hpp"
#include "x86/address.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace undercroft::boot {

enum class E820Type : std::uint32_t { Ram = 1, Reserved = 2, Acpi = 3, Nvs = 4 };  // ACPI 6.4 section 15.2

struct [[gnu::packed]] E820Entry {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    E820Type type{};
};
static_assert(sizeof(E820Entry) == 20, "the guest's layout");

struct BootParams {
    static constexpr std::size_t max_e820_entries = 128;

    std::array<std::uint8_t, 0x70> screen_apm_tboot_ist{};
    std::uint64_t acpi_rsdp_addr = 0;
    std::array<std::uint8_t, 0x48> disks_and_tables{};
    std::uint32_t ext_ramdisk_image = 0;
    std::uint32_t ext_ramdisk_size = 0;
    std::uint32_t ext_cmd_line_ptr = 0;
    std::array<std::uint8_t, 0x11c> edid_efi_and_old_memory_sizes{};
    std::uint8_t e820_entries = 0;
    std::array<std::uint8_t, 6> edd_and_keyboard{};
    std::uint8_t sentinel = 0;  // zero: the fields outside the header are ours, not leftovers
    std::uint8_t pad = 0;
    SetupHeader header;
    std::array<std::uint8_t, 0x2d0 - 0x26c> edd_signatures{};
    std::array<E820Entry, max_e820_entries> e820_table{};
    std::array<std::uint8_t, 0x1000 - 0xcd0> edd{};
};

static_assert(sizeof(BootParams) == 4096, "the guest's layout: exactly a page");
static_assert(offsetof(BootParams, acpi_rsdp_addr) == 0x070);
static_assert(offsetof(BootParams, ext_ramdisk_image) == 0x0c0);
static_assert(offsetof(BootParams, e820_entries) == 0x1e8);
static_assert(offsetof(BootParams, sentinel) == 0x1ef);
static_assert(offsetof(BootParams, header) == setup_header_offset);
static_assert(offsetof(BootParams, e820_table) == 0x2d0);

struct MemoryRange {
    GuestPhysical base;
    std::uint64_t size = 0;

    constexpr GuestPhysical end() const { return base + size; }
};

struct BootParamsInputs {
    SetupHeader header{};               // of the kernel
    GuestPhysical command_line{};       // its address
    std::size_t command_line_size = 0;  // without the terminating zero
    MemoryRange initrd{};               // size zero: none
    GuestPhysical rsdp{};
    std::vector<E820Entry> e820{};  // at most max_e820_entries
};

// Error: "command line is too long: … bytes, the kernel takes …".
Result<BootParams> make_boot_params(const BootParamsInputs& inputs);

// The memory map of a board with `ram`, ascending: RAM without the legacy hole at [0xa0000, 0x100000), and
// `acpi`, which lies in that hole, as ACPI tables.
std::vector<E820Entry> make_e820(const std::vector<MemoryRange>& ram, MemoryRange acpi);

}  // namespace undercroft::boot
