// SPDX-License-Identifier: Apache-2.0
// Unpacks a kernel's payload: xz, lzma, lz4 (legacy frames), zstd or gzip, told apart by their first bytes.
//
// Source: Linux arch/x86/boot/compressed/Makefile and scripts/Makefile.lib for what is produced,
// lib/decompress*.c for what is accepted.

#pragma once

#include "base/result.hpp"
#include "boot/buffer.hpp"

namespace undercroft::boot {

// More than any kernel; what a damaged size field can make us allocate.
inline constexpr std::size_t max_unpacked_size = std::size_t{512} << 20;

// `payload` is one compressed stream and, in its last four bytes, the unpacked size: the kernel's build
// appends it, gzip's own trailer ends with it. The result has exactly that size.
//
// Errors: "payload is corrupt (xz: …)", "payload compression is not supported (bzip2)", "payload compression
// is not known", and "payload is corrupt (xz: … bytes claimed)" for a size beyond `limit`.
Result<Buffer> decompress(ByteSpan payload, std::size_t limit = max_unpacked_size);

}  // namespace undercroft::boot
