// SPDX-License-Identifier: Apache-2.0
// New qcow2 images: header, table of reference counts, its first block, and an empty L1 table, in this order.
#include "disk/qcow2_disk.hpp"

#include <utility>

namespace undercroft {

Result<Qcow2Header> Qcow2Disk::create(Storage& storage, std::uint64_t size, std::string backing_file,
                                      std::string backing_format) {
    constexpr std::size_t longest_name = 1023;
    if (backing_file.size() > longest_name) return Error{"the backing file's name is longer than 1023 bytes"};
    Qcow2Header header;
    std::uint64_t cluster = header.cluster_size();
    header.size = size;
    header.backing_file = std::move(backing_file);
    header.backing_format = std::move(backing_format);
    header.l1_entries = static_cast<std::uint32_t>((size + header.l2_coverage() - 1) / header.l2_coverage());
    header.refcount_table_offset = cluster;
    header.refcount_table_clusters = 1;
    header.l1_offset = 3 * cluster;
    std::vector<std::byte> bytes = header.serialise();
    std::uint64_t l1_clusters = (header.l1_entries * std::uint64_t{8} + cluster - 1) / cluster;
    std::uint64_t used = 3 + l1_clusters;
    bytes.resize(used * cluster);
    store_big(bytes.data() + cluster, 2 * cluster);
    for (std::uint64_t i = 0; i < used; ++i) store_big(bytes.data() + 2 * cluster + i * 2, std::uint16_t{1});
    if (storage.write_bytes(0, bytes) != DiskStatus::Ok) return Error{"cannot be written"};
    return header;
}

}  // namespace undercroft
