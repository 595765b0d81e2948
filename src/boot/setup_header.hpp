// SPDX-License-Identifier: Apache-2.0
// The setup header of the Linux/x86 boot protocol: bytes 0x1f1 and up of a bzImage and of the zero page.
//
// Source: Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"; field names are those of
// arch/x86/include/uapi/asm/bootparam.h.

#pragma once

#include <cstddef>
#include <cstdint>

namespace undercroft::boot {

inline constexpr std::size_t setup_header_offset = 0x1f1;

struct [[gnu::packed]] SetupHeader {
    static constexpr std::uint16_t boot_flag_magic = 0xaa55;
    static constexpr std::uint32_t header_magic = 0x53726448;  // "HdrS"
    static constexpr std::uint16_t version_2_12 = 0x20c;       // the first with xloadflags
    static constexpr std::uint16_t version_2_15 = 0x20f;

    static constexpr std::uint8_t LOADED_HIGH = 1u << 0;     // of loadflags
    static constexpr std::uint16_t XLF_KERNEL_64 = 1u << 0;  // of xloadflags: has a 64-bit entry point
    static constexpr std::uint8_t undefined_loader = 0xff;   // type_of_loader without an assigned number

    std::uint8_t setup_sects = 0;
    std::uint16_t root_flags = 0;
    std::uint32_t syssize = 0;
    std::uint16_t ram_size = 0;
    std::uint16_t vid_mode = 0;
    std::uint16_t root_dev = 0;
    std::uint16_t boot_flag = 0;
    std::uint16_t jump = 0;  // second byte: where the header ends, counted from 0x202
    std::uint32_t header = 0;
    std::uint16_t version = 0;
    std::uint32_t realmode_swtch = 0;
    std::uint16_t start_sys_seg = 0;
    std::uint16_t kernel_version = 0;
    std::uint8_t type_of_loader = 0;
    std::uint8_t loadflags = 0;
    std::uint16_t setup_move_size = 0;
    std::uint32_t code32_start = 0;
    std::uint32_t ramdisk_image = 0;
    std::uint32_t ramdisk_size = 0;
    std::uint32_t bootsect_kludge = 0;
    std::uint16_t heap_end_ptr = 0;
    std::uint8_t ext_loader_ver = 0;
    std::uint8_t ext_loader_type = 0;
    std::uint32_t cmd_line_ptr = 0;
    std::uint32_t initrd_addr_max = 0;  // the highest address that the initrd's last byte may have
    std::uint32_t kernel_alignment = 0;
    std::uint8_t relocatable_kernel = 0;
    std::uint8_t min_alignment = 0;
    std::uint16_t xloadflags = 0;
    std::uint32_t cmdline_size = 0;  // the longest command line, without the terminating zero
    std::uint32_t hardware_subarch = 0;
    std::uint64_t hardware_subarch_data = 0;
    std::uint32_t payload_offset = 0;  // from the start of the protected-mode code
    std::uint32_t payload_length = 0;
    std::uint64_t setup_data = 0;
    std::uint64_t pref_address = 0;
    std::uint32_t init_size = 0;
    std::uint32_t handover_offset = 0;
    std::uint32_t kernel_info_offset = 0;
};

static_assert(sizeof(SetupHeader) == 0x26c - setup_header_offset, "the guest's layout, protocol 2.15");
static_assert(offsetof(SetupHeader, header) == 0x202 - setup_header_offset);
static_assert(offsetof(SetupHeader, type_of_loader) == 0x210 - setup_header_offset);
static_assert(offsetof(SetupHeader, cmd_line_ptr) == 0x228 - setup_header_offset);
static_assert(offsetof(SetupHeader, xloadflags) == 0x236 - setup_header_offset);
static_assert(offsetof(SetupHeader, payload_offset) == 0x248 - setup_header_offset);
static_assert(offsetof(SetupHeader, init_size) == 0x260 - setup_header_offset);

}  // namespace undercroft::boot
