// SPDX-License-Identifier: Apache-2.0
// The header of a qcow2 image: where its tables lie and what it stands on. Pure: bytes in, facts out.
//
// A qcow2 image is a file of clusters. The guest's clusters are found by two levels of tables (L1, L2); a
// table of reference counts, of two levels too, says which clusters of the file are in use. All numbers are
// big-endian. What an image's maker wrote is not trusted: whatever it says, at worst its own file is damaged.
//
// Source: QEMU docs/interop/qcow2.txt. Versions 2 and 3, zlib and zstd. Left out: encryption, external data
// files, extended L2 entries (subclusters); bitmaps are dropped by the first write, as the format allows.

#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace undercroft {

struct Qcow2Header {
    static constexpr std::uint32_t magic = 0x514649fb;  // "QFI\xfb"
    static constexpr std::size_t parsed_bytes = 65536;  // from the file's beginning; all that parse() wants
    // Where the fields lie that change: the table of reference counts (its offset, its clusters) and the
    // features that a writer who does not know them has to clear.
    static constexpr std::uint64_t refcount_table_field = 48;
    static constexpr std::uint64_t autoclear_field = 88;

    enum class Compression : std::uint8_t { Zlib = 0, Zstd = 1 };
    enum Incompatible : std::uint64_t {
        Dirty = 1,
        Corrupt = 2,
        ExternalData = 4,
        CompressionType = 8,
        ExtendedL2 = 16
    };

    std::uint32_t version = 3;
    unsigned cluster_bits = 16;  // 9..21
    std::uint64_t size = 0;      // of the disk, bytes
    std::uint64_t l1_offset = 0;
    std::uint32_t l1_entries = 0;
    std::uint64_t refcount_table_offset = 0;
    std::uint32_t refcount_table_clusters = 0;
    unsigned refcount_order = 4;  // a count has 2^order bits; 0..6
    std::uint64_t incompatible = 0;
    std::uint64_t autoclear = 0;
    Compression compression = Compression::Zlib;
    std::string backing_file;    // as written; empty: none
    std::string backing_format;  // "raw", "qcow2"; empty: not told

    std::uint64_t cluster_size() const { return std::uint64_t{1} << cluster_bits; }
    unsigned l2_bits() const { return cluster_bits - 3; }  // log2 of a table's entries
    std::uint64_t l2_coverage() const {
        return cluster_size() << l2_bits();
    }  // the disk's bytes under an L2 table
    bool has_zero_clusters() const { return version >= 3; }

    // `bytes`: the file's first parsed_bytes, or all if it is shorter. Errors: what is wrong, or not
    // supported.
    static Result<Qcow2Header> parse(std::span<const std::byte> bytes);
    // The first cluster of a new image. The backing file's name must fit (checked by Qcow2Disk::create).
    std::vector<std::byte> serialise() const;
};

// Whether `bytes`, a file's first, are a qcow2 header's.
bool looks_like_qcow2(std::span<const std::byte> bytes);

// Big-endian numbers in files.
template <class Number>
Number load_big(const std::byte* from) {
    Number value = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i)
        value = static_cast<Number>(std::uint64_t{value} << 8 | std::to_integer<std::uint64_t>(from[i]));
    return value;
}
template <class Number>
void store_big(std::byte* to, Number value) {
    for (std::size_t i = sizeof(Number); i-- > 0; value = static_cast<Number>(std::uint64_t{value} >> 8))
        to[i] = static_cast<std::byte>(value & 0xff);
}

}  // namespace undercroft
