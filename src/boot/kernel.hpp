// SPDX-License-Identifier: Apache-2.0
// A kernel file, whichever kind it is, made ready to be placed in guest memory.

#pragma once

#include "base/result.hpp"
#include "boot/buffer.hpp"
#include "boot/elf.hpp"
#include "boot/setup_header.hpp"

#include <vector>

namespace undercroft::boot {

struct Kernel {
    SetupHeader header;  // of the bzImage, or made up for a plain ELF
    Elf elf;             // its segments lie in `unpacked` or `file`, and stay there when the Kernel is moved

    std::vector<std::byte> file;  // a plain ELF; empty for a bzImage, whose file is dropped once unpacked
    Buffer unpacked;              // what was inside a bzImage

    Kernel() = default;
    Kernel(Kernel&&) = default;
    Kernel& operator=(Kernel&&) = default;
};

// Takes a bzImage or an ELF vmlinux apart. Unpacking is what takes time: tens of milliseconds for lz4, a
// second for xz. Errors are those of parse_bzimage, decompress and parse_elf, and "empty file". None names
// the file: the caller adds it.
Result<Kernel> read_kernel(std::vector<std::byte> file);

// The same for bytes that stay the caller's; a plain ELF is copied.
Result<Kernel> read_kernel(ByteSpan file);

}  // namespace undercroft::boot
