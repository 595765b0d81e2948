// SPDX-License-Identifier: Apache-2.0
// bzImage: the wrapping in which distributions ship a kernel.
//
// A setup header that describes the kernel, 16-bit and decompression code that we never run, and a compressed
// ELF: the payload. Source: Linux Documentation/arch/x86/boot.rst.
//
// Left out: zImages and protocols before 2.12, which have no 64-bit kernel inside.

#pragma once

#include "base/result.hpp"
#include "boot/buffer.hpp"
#include "boot/setup_header.hpp"

namespace undercroft::boot {

struct BzImage {
    SetupHeader header;  // fields beyond the file's own protocol version are zero
    ByteSpan payload;    // within the parsed file; for decompress()
};

// Errors: "not a bzImage or ELF kernel", "truncated kernel: …", "32-bit kernel (no 64-bit entry point)", and
// a boot protocol that is too old.
Result<BzImage> parse_bzimage(ByteSpan file);

}  // namespace undercroft::boot
