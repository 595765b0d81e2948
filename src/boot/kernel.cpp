// SPDX-License-Identifier: Apache-2.0
#include "boot/kernel.hpp"

#include "boot/bzimage.hpp"
#include "boot/decompress.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace undercroft::boot {
namespace {

// What Linux 6.1 says in its own bzImage, as far as it matters for an entry at startup_64.
SetupHeader made_up_header(const Elf& elf) {
    constexpr std::uint64_t max_init_size = std::numeric_limits<std::uint32_t>::max();
    SetupHeader header;
    header.boot_flag = SetupHeader::boot_flag_magic;
    header.header = SetupHeader::header_magic;
    header.version = SetupHeader::version_2_15;
    header.loadflags = SetupHeader::LOADED_HIGH;
    header.initrd_addr_max = 0x7fffffff;
    header.kernel_alignment = 0x200000;
    header.min_alignment = 21;  // log2 of the line above
    header.xloadflags = SetupHeader::XLF_KERNEL_64;
    header.cmdline_size = 2047;  // COMMAND_LINE_SIZE - 1
    header.pref_address = elf.begin().value();
    header.init_size = static_cast<std::uint32_t>(std::min(elf.end() - elf.begin(), max_init_size));
    return header;
}

Result<Kernel> read_bzimage(ByteSpan file) {
    const auto image = parse_bzimage(file);
    if (!image) return image.error();
    auto unpacked = decompress(image->payload);
    if (!unpacked) return unpacked.error();
    auto elf = parse_elf(unpacked->span());
    if (!elf) return std::move(elf.error()).in("payload");

    Kernel kernel;
    kernel.header = image->header;
    kernel.elf = *std::move(elf);
    kernel.unpacked = *std::move(unpacked);
    return kernel;
}

}  // namespace

Result<Kernel> read_kernel(std::vector<std::byte> file) {
    if (file.empty()) return Error{"empty file"};
    if (!looks_like_elf(file)) return read_bzimage(file);

    auto elf = parse_elf(file);
    if (!elf) return elf.error();
    Kernel kernel;
    kernel.header = made_up_header(*elf);
    kernel.elf = *std::move(elf);
    kernel.file = std::move(file);
    return kernel;
}

Result<Kernel> read_kernel(ByteSpan file) {
    if (file.empty() || looks_like_elf(file)) return read_kernel(std::vector(file.begin(), file.end()));
    return read_bzimage(file);
}

}  // namespace undercroft::boot
