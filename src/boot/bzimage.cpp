// SPDX-License-Identifier: Apache-2.0
#include "boot/bzimage.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace undercroft::boot {
namespace {

constexpr std::size_t sector_size = 512;
constexpr std::size_t header_end_base = 0x202;  // what the byte at 0x201 is added to
constexpr std::size_t header_end_offset = 0x201;

// The header as far as the file says it reaches, zero beyond.
SetupHeader copy_header(ByteSpan file) {
    const std::size_t said_end = header_end_base + load_at<std::uint8_t>(file, header_end_offset);
    const std::size_t end = std::min({said_end, setup_header_offset + sizeof(SetupHeader), file.size()});
    SetupHeader header;
    std::memcpy(&header, file.data() + setup_header_offset, end - setup_header_offset);
    return header;
}

}  // namespace

Result<BzImage> parse_bzimage(ByteSpan file) {
    constexpr std::size_t version_end = setup_header_offset + offsetof(SetupHeader, version) + 2;
    if (file.size() < version_end) return Error{"not a bzImage or ELF kernel"};
    const SetupHeader header = copy_header(file);
    if (header.boot_flag != SetupHeader::boot_flag_magic || header.header != SetupHeader::header_magic)
        return Error{"not a bzImage or ELF kernel"};
    if (header.version < SetupHeader::version_2_12)
        return Error{fmt::format("boot protocol {}.{} is too old (2.12 or later is needed)",
                                 header.version >> 8, header.version & 0xff)};
    if (file.size() < setup_header_offset + sizeof(SetupHeader))
        return Error{"truncated kernel: the setup header is incomplete"};
    if ((header.xloadflags & SetupHeader::XLF_KERNEL_64) == 0)
        return Error{"32-bit kernel (no 64-bit entry point)"};

    const std::size_t setup_sectors =
        header.setup_sects == 0 ? 4u : header.setup_sects;  // 0 means 4, says the text
    const std::uint64_t offset = (setup_sectors + 1) * sector_size + header.payload_offset;
    const std::uint64_t length = header.payload_length;
    if (length == 0) return Error{"kernel has no payload"};
    if (!lies_within(offset, length, file.size()))
        return Error{fmt::format("truncated kernel: the payload ends at byte {}, the file has {}",
                                 offset + length, file.size())};
    const std::uint64_t whole = (setup_sectors + 1) * sector_size + header.syssize * std::uint64_t{16};
    if (file.size() < whole)
        return Error{fmt::format("truncated kernel: it has {} bytes, the file {}", whole, file.size())};
    return BzImage{header, file.subspan(offset, length)};
}

}  // namespace undercroft::boot
