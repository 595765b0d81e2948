// SPDX-License-Identifier: Apache-2.0
// CpioWriter: an initramfs as Linux unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst,
// the format "newc"), not compressed. Everything belongs to root.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft::boot {

class CpioWriter {
public:
    // Paths without a leading slash; a folder before what is in it.
    void add_folder(std::string_view path) { add(path, 0040755, {}); }
    void add_file(std::string_view path, std::span<const std::byte> bytes, unsigned permissions = 0644) {
        add(path, 0100000 | permissions, bytes);
    }
    std::vector<std::byte> finish() &&;

private:
    void add(std::string_view path, unsigned mode, std::span<const std::byte> bytes);
    void append(std::span<const std::byte> bytes);  // up to a multiple of 4

    std::vector<std::byte> archive_;
    unsigned next_inode_ = 1;
};

}  // namespace undercroft::boot
