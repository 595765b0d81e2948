// SPDX-License-Identifier: Apache-2.0
#include "boot/cpio.hpp"

#include <fmt/format.h>

namespace undercroft::boot {

void CpioWriter::append(std::span<const std::byte> bytes) {
    archive_.insert(archive_.end(), bytes.begin(), bytes.end());
    archive_.resize((archive_.size() + 3) & ~std::size_t{3});
}

void CpioWriter::add(std::string_view path, unsigned mode, std::span<const std::byte> bytes) {
    // Inode, mode, owner, group, links, time, size, four device numbers, length of the name with its zero,
    // sum.
    std::string header =
        fmt::format("070701{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
                    next_inode_++, mode, 0, 0, 1, 0, bytes.size(), 0, 0, 0, 0, path.size() + 1, 0);
    header.append(path);
    header += '\0';
    append(std::as_bytes(std::span{header}));
    append(bytes);
}

std::vector<std::byte> CpioWriter::finish() && {
    add("TRAILER!!!", 0, {});
    return std::move(archive_);
}

}  // namespace undercroft::boot
