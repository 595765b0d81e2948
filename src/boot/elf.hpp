// SPDX-License-Identifier: Apache-2.0
// vmlinux: an ELF executable for x86-64, as far as loading a kernel needs it.
//
// Source: ELF-64 Object File Format 1.5; System V ABI, AMD64 supplement. Sections, notes, relocations are
// left out: a kernel is placed where its program headers say.

#pragma once

#include "base/result.hpp"
#include "boot/buffer.hpp"
#include "x86/address.hpp"

#include <vector>

namespace undercroft::boot {

struct ElfSegment {
    GuestPhysical address;
    ByteSpan bytes;             // within the parsed file
    std::uint64_t memory_size;  // at least bytes.size(); what is beyond the bytes is zero

    constexpr GuestPhysical end() const { return address + memory_size; }
};

struct Elf {
    GuestPhysical entry;
    std::vector<ElfSegment> segments;  // never empty, ascending, disjoint; entry lies in one of them

    GuestPhysical begin() const { return segments.front().address; }
    GuestPhysical end() const { return segments.back().end(); }
};

bool looks_like_elf(ByteSpan file);

// Errors: "not an ELF file", "truncated kernel: …", "32-bit kernel", "kernel is not for x86-64", "ELF file is
// not an executable …", and segments that overlap, wrap around or miss the entry point.
Result<Elf> parse_elf(ByteSpan file);

}  // namespace undercroft::boot
