// SPDX-License-Identifier: Apache-2.0
#include "disk/qcow2_map.hpp"

#include <algorithm>
#include <array>

namespace undercroft {
namespace {

constexpr std::uint64_t copied = std::uint64_t{1} << 63;  // the reference count is exactly one
constexpr std::uint64_t compressed = std::uint64_t{1} << 62;
constexpr std::uint64_t reads_as_zeros = 1;
constexpr std::uint64_t offset_mask = 0x00fffffffffffe00;

}  // namespace

Qcow2Cluster Qcow2Cluster::decode(const Qcow2Header& header, std::uint64_t entry) {
    if ((entry & compressed) != 0) {
        unsigned offset_bits = 62 - (header.cluster_bits - 8);
        std::uint64_t offset = entry & ((std::uint64_t{1} << offset_bits) - 1);
        std::uint64_t more_sectors = (entry & (compressed - 1)) >> offset_bits;
        std::uint64_t length = (more_sectors + 1) * 512 - offset % 512;
        return {.kind = Kind::Compressed, .offset = offset, .length = length};
    }
    Qcow2Cluster cluster{.is_own = (entry & copied) != 0, .offset = entry & offset_mask};
    if (cluster.offset % header.cluster_size() != 0)
        cluster.kind = Kind::Damaged;
    else if (header.has_zero_clusters() && (entry & reads_as_zeros) != 0)
        cluster.kind = Kind::Zero;
    else if (cluster.offset != 0)
        cluster.kind = Kind::Data;
    return cluster;
}

std::uint64_t Qcow2Cluster::encode() const {
    return offset | (is_own ? copied : 0) | (kind == Kind::Zero ? reads_as_zeros : 0);
}

Qcow2Map::Qcow2Map(Storage& storage, const Qcow2Header& header, Qcow2Refcounts& refcounts)
    : storage_{storage}, header_{header}, refcounts_{refcounts}, tables_{storage, header.cluster_size()} {}

DiskStatus Qcow2Map::load() {
    std::vector<std::byte> bytes(header_.l1_entries * std::size_t{8});
    if (auto status = storage_.read_bytes(header_.l1_offset, bytes); status != DiskStatus::Ok) return status;
    l1_.resize(header_.l1_entries);
    for (std::size_t i = 0; i < l1_.size(); ++i) l1_[i] = load_big<std::uint64_t>(bytes.data() + i * 8);
    return DiskStatus::Ok;
}

DiskStatus Qcow2Map::find(std::uint64_t guest_cluster, Qcow2Cluster& cluster) {
    std::uint64_t offset = l1_[guest_cluster >> header_.l2_bits()] & offset_mask;
    cluster = {};
    if (offset == 0) return DiskStatus::Ok;
    Qcow2Tables::Table* table = nullptr;
    if (auto status = tables_.find(offset, table); status != DiskStatus::Ok) return status;
    std::uint64_t index = guest_cluster & ((std::uint64_t{1} << header_.l2_bits()) - 1);
    cluster = Qcow2Cluster::decode(header_, load_big<std::uint64_t>(table->bytes.data() + index * 8));
    return DiskStatus::Ok;
}

DiskStatus Qcow2Map::set(std::uint64_t guest_cluster, const Qcow2Cluster& cluster) {
    Qcow2Tables::Table* table = nullptr;
    auto status = own_table(guest_cluster >> header_.l2_bits(), table);
    if (status != DiskStatus::Ok) return status;
    std::uint64_t index = guest_cluster & ((std::uint64_t{1} << header_.l2_bits()) - 1);
    store_big(table->bytes.data() + index * 8, cluster.encode());
    tables_.changed(*table);
    return DiskStatus::Ok;
}

// The L2 table, for writing: a new one where there is none, and a copy of one that a snapshot uses as well.
DiskStatus Qcow2Map::own_table(std::uint64_t l1_index, Qcow2Tables::Table*& table) {
    std::uint64_t entry = l1_[l1_index];
    std::uint64_t offset = entry & offset_mask;
    std::vector<std::byte> copy;
    if (offset != 0) {
        if (auto status = tables_.find(offset, table); status != DiskStatus::Ok) return status;
        if ((entry & copied) != 0) return DiskStatus::Ok;
        copy = table->bytes;
    }
    std::uint64_t fresh = 0;
    if (auto status = refcounts_.allocate(fresh); status != DiskStatus::Ok) return status;
    table = &tables_.make(fresh);
    if (offset != 0) {
        table->bytes = std::move(copy);
        refcounts_.free(offset, header_.cluster_size());
    }
    l1_[l1_index] = fresh | copied;
    changed_l1_.insert(l1_index);
    return DiskStatus::Ok;
}

DiskStatus Qcow2Map::write_links() {
    if (auto status = tables_.write_back(Qcow2Tables::Which::All); status != DiskStatus::Ok) return status;
    while (!changed_l1_.empty()) {
        std::uint64_t index = *changed_l1_.begin();
        std::array<std::byte, 8> entry{};
        store_big(entry.data(), l1_[index]);
        auto status = storage_.write_bytes(header_.l1_offset + index * 8, entry);
        if (status != DiskStatus::Ok) return status;
        changed_l1_.erase(changed_l1_.begin());
    }
    return DiskStatus::Ok;
}

}  // namespace undercroft
