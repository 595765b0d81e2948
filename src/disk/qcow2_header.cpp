// SPDX-License-Identifier: Apache-2.0
#include "disk/qcow2_header.hpp"

#include "disk/disk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace undercroft {
namespace {

// Offsets of the header's fields.
enum Field : std::size_t {
    Magic = 0,
    Version = 4,
    BackingOffset = 8,
    BackingSize = 16,
    ClusterBits = 20,
    Size = 24,
    CryptMethod = 32,
    L1Entries = 36,
    L1Offset = 40,
    RefcountTableOffset = Qcow2Header::refcount_table_field,
    RefcountTableClusters = 56,
    EndOfVersion2 = 72,
    IncompatibleFeatures = 72,
    AutoclearFeatures = Qcow2Header::autoclear_field,
    RefcountOrder = 96,
    HeaderLength = 100,
    CompressionMethod = 104,
    EndOfWhatWeWrite = 112,
};

enum Extension : std::uint32_t { End = 0, BackingFormat = 0xe2792aca };

constexpr std::size_t longest_backing_name = 1023;
constexpr std::uint64_t most_l1_bytes = std::uint64_t{32} << 20;
constexpr std::uint64_t most_refcount_table_bytes = std::uint64_t{8} << 20;
constexpr std::uint64_t end_of_offsets = std::uint64_t{1} << 56;

// The bytes of a header, each read of which lies within them.
class Reader {
public:
    explicit Reader(std::span<const std::byte> bytes) : bytes_{bytes} {}
    bool has(std::uint64_t offset, std::uint64_t length) const {
        return offset <= bytes_.size() && length <= bytes_.size() - offset;
    }
    template <class Number>
    Number at(std::uint64_t offset) const {
        return has(offset, sizeof(Number)) ? load_big<Number>(bytes_.data() + offset) : Number{0};
    }
    std::string text(std::uint64_t offset, std::uint64_t length) const {
        return {reinterpret_cast<const char*>(bytes_.data() + offset), length};
    }

private:
    std::span<const std::byte> bytes_;
};

Result<void> check_geometry(const Qcow2Header& header) {
    auto is_table = [&](std::uint64_t offset) {
        return offset != 0 && offset % header.cluster_size() == 0 && offset < end_of_offsets;
    };
    if (header.size == 0) return Error{"a disk of no bytes"};
    if (header.size % Disk::sector_size != 0 || header.size > end_of_offsets)
        return Error{fmt::format("a disk of {} bytes, not a multiple of {}", header.size, Disk::sector_size)};
    if (header.l1_entries < (header.size + header.l2_coverage() - 1) / header.l2_coverage())
        return Error{"damaged: its L1 table is too short for the disk"};
    if (header.l1_entries * std::uint64_t{8} > most_l1_bytes)
        return Error{"its L1 table is larger than 32 MiB"};
    if (header.refcount_table_clusters == 0 ||
        header.refcount_table_clusters * header.cluster_size() > most_refcount_table_bytes)
        return Error{"damaged: a table of reference counts of 0, or more than 8 MiB"};
    if (!is_table(header.l1_offset) || !is_table(header.refcount_table_offset))
        return Error{"damaged: a table does not begin with a cluster"};
    return {};
}

Result<void> parse_features(const Reader& reader, Qcow2Header& header) {
    header.incompatible = reader.at<std::uint64_t>(IncompatibleFeatures);
    header.autoclear = reader.at<std::uint64_t>(AutoclearFeatures);
    std::uint64_t unknown = header.incompatible & ~(Qcow2Header::Dirty | Qcow2Header::Corrupt |
                                                    Qcow2Header::CompressionType | 0ull);
    if ((unknown & Qcow2Header::ExternalData) != 0) return Error{"an external data file is not supported"};
    if ((unknown & Qcow2Header::ExtendedL2) != 0)
        return Error{"extended L2 entries (subclusters) are not supported"};
    if (unknown != 0) return Error{fmt::format("unknown incompatible features {:#x}", unknown)};
    auto order = reader.at<std::uint32_t>(RefcountOrder);
    if (order > 6) return Error{fmt::format("damaged: reference counts of order {}", order)};
    header.refcount_order = order;
    if (reader.at<std::uint32_t>(HeaderLength) > CompressionMethod) {
        auto method = reader.at<std::uint8_t>(CompressionMethod);
        if (method > 1) return Error{fmt::format("unknown compression {}", method)};
        header.compression = static_cast<Qcow2Header::Compression>(method);
    }
    return {};
}

Result<void> parse_extensions(const Reader& reader, std::uint64_t at, Qcow2Header& header) {
    while (reader.has(at, 8)) {
        auto type = reader.at<std::uint32_t>(at);
        auto length = reader.at<std::uint32_t>(at + 4);
        if (type == Extension::End) return {};
        if (!reader.has(at + 8, length)) break;
        if (type == Extension::BackingFormat) header.backing_format = reader.text(at + 8, length);
        at += 8 + ((std::uint64_t{length} + 7) & ~7ull);
    }
    return Error{"damaged: header extensions without an end"};
}

}  // namespace

bool looks_like_qcow2(std::span<const std::byte> bytes) {
    return bytes.size() >= 4 && load_big<std::uint32_t>(bytes.data()) == Qcow2Header::magic;
}

Result<Qcow2Header> Qcow2Header::parse(std::span<const std::byte> bytes) {
    Reader reader{bytes};
    if (!looks_like_qcow2(bytes)) return Error{"not a qcow2 image"};
    if (!reader.has(0, EndOfVersion2)) return Error{"damaged: shorter than a header"};
    Qcow2Header header;
    header.version = reader.at<std::uint32_t>(Version);
    if (header.version != 2 && header.version != 3)
        return Error{fmt::format("qcow2 version {}, not 2 or 3", header.version)};
    header.cluster_bits = reader.at<std::uint32_t>(ClusterBits);
    if (header.cluster_bits < 9 || header.cluster_bits > 21)
        return Error{fmt::format("damaged: clusters of 2^{} bytes", header.cluster_bits)};
    if (reader.at<std::uint32_t>(CryptMethod) != 0) return Error{"encrypted images are not supported"};
    header.size = reader.at<std::uint64_t>(Size);
    header.l1_offset = reader.at<std::uint64_t>(L1Offset);
    header.l1_entries = reader.at<std::uint32_t>(L1Entries);
    header.refcount_table_offset = reader.at<std::uint64_t>(RefcountTableOffset);
    header.refcount_table_clusters = reader.at<std::uint32_t>(RefcountTableClusters);
    std::uint64_t extensions = EndOfVersion2;
    if (header.version >= 3) {
        extensions = reader.at<std::uint32_t>(HeaderLength);
        if (extensions < CompressionMethod || extensions > header.cluster_size())
            return Error{fmt::format("damaged: a header of {} bytes", extensions)};
        if (auto parsed = parse_features(reader, header); !parsed) return parsed.error();
    }
    if (auto checked = check_geometry(header); !checked) return checked.error();
    if (auto parsed = parse_extensions(reader, extensions, header); !parsed) return parsed.error();
    if (auto name = reader.at<std::uint64_t>(BackingOffset); name != 0) {
        auto length = reader.at<std::uint32_t>(BackingSize);
        if (length == 0 || length > longest_backing_name || !reader.has(name, length))
            return Error{"damaged: the name of its backing file lies outside its header"};
        header.backing_file = reader.text(name, length);
    }
    return header;
}

std::vector<std::byte> Qcow2Header::serialise() const {
    std::vector<std::byte> bytes(cluster_size());
    auto put = [&](std::size_t at, auto value) { store_big(bytes.data() + at, value); };
    put(Magic, magic);
    put(Version, std::uint32_t{3});
    put(ClusterBits, static_cast<std::uint32_t>(cluster_bits));
    put(Size, size);
    put(L1Entries, l1_entries);
    put(L1Offset, l1_offset);
    put(RefcountTableOffset, refcount_table_offset);
    put(RefcountTableClusters, refcount_table_clusters);
    put(RefcountOrder, static_cast<std::uint32_t>(refcount_order));
    put(HeaderLength, static_cast<std::uint32_t>(EndOfWhatWeWrite));
    if (backing_file.empty()) return bytes;
    std::size_t at = EndOfWhatWeWrite;
    put(at, static_cast<std::uint32_t>(Extension::BackingFormat));
    put(at + 4, static_cast<std::uint32_t>(backing_format.size()));
    std::memcpy(bytes.data() + at + 8, backing_format.data(), backing_format.size());
    at += 8 + ((backing_format.size() + 7) & ~std::size_t{7}) + 8;  // and the end, which is zero
    put(BackingOffset, std::uint64_t{at});
    put(BackingSize, static_cast<std::uint32_t>(backing_file.size()));
    std::memcpy(bytes.data() + at, backing_file.data(), std::min(backing_file.size(), bytes.size() - at));
    return bytes;
}

}  // namespace undercroft
