// SPDX-License-Identifier: Apache-2.0
#include "boot/boot_params.hpp"

#include "base/check.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace undercroft::boot {
namespace {

constexpr GuestPhysical hole_begin{0xa0000};  // video memory and option ROMs on a PC
constexpr GuestPhysical hole_end{0x100000};

constexpr std::uint32_t low_half(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr std::uint32_t high_half(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

}  // namespace

Result<BootParams> make_boot_params(const BootParamsInputs& inputs) {
    if (inputs.command_line_size > inputs.header.cmdline_size)
        return Error{fmt::format("command line is too long: {} bytes, the kernel takes {}",
                                 inputs.command_line_size, std::uint32_t{inputs.header.cmdline_size})};
    CHECK(inputs.e820.size() <= BootParams::max_e820_entries);

    BootParams params;
    params.header = inputs.header;
    params.header.type_of_loader = SetupHeader::undefined_loader;
    params.header.loadflags |= SetupHeader::LOADED_HIGH;
    params.header.setup_data = 0;
    params.header.cmd_line_ptr = low_half(inputs.command_line.value());
    params.ext_cmd_line_ptr = high_half(inputs.command_line.value());
    if (inputs.initrd.size != 0) {
        params.header.ramdisk_image = low_half(inputs.initrd.base.value());
        params.ext_ramdisk_image = high_half(inputs.initrd.base.value());
    }
    params.header.ramdisk_size = low_half(inputs.initrd.size);
    params.ext_ramdisk_size = high_half(inputs.initrd.size);
    params.acpi_rsdp_addr = inputs.rsdp.value();
    params.e820_entries = static_cast<std::uint8_t>(inputs.e820.size());
    std::ranges::copy(inputs.e820, params.e820_table.begin());
    return params;
}

std::vector<E820Entry> make_e820(const std::vector<MemoryRange>& ram, MemoryRange acpi) {
    CHECK(acpi.base >= hole_begin && acpi.end() <= hole_end);
    std::vector<E820Entry> entries;
    auto add = [&](GuestPhysical begin, GuestPhysical end, E820Type type) {
        if (begin < end) entries.push_back({begin.value(), end - begin, type});
    };
    for (const MemoryRange& range : ram) add(range.base, std::min(range.end(), hole_begin), E820Type::Ram);
    add(acpi.base, acpi.end(), E820Type::Acpi);
    for (const MemoryRange& range : ram) add(std::max(range.base, hole_end), range.end(), E820Type::Ram);
    return entries;
}

}  // namespace undercroft::boot
