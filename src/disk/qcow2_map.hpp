// SPDX-License-Identifier: Apache-2.0
// Qcow2Map: where a guest's cluster lies in a qcow2 file: L1 and L2 tables.

#pragma once

#include "disk/qcow2_refcounts.hpp"

#include <set>

namespace undercroft {

// One entry of an L2 table.
struct Qcow2Cluster {
    enum class Kind : std::uint8_t {
        Unallocated,  // the backing file's, or zeros
        Zero,         // zeros; `offset` is a cluster reserved for it, or 0
        Data,         // at `offset`
        Compressed,   // `length` bytes at `offset`, the last of which may lie behind the file's end
        Damaged,
    };

    Kind kind = Kind::Unallocated;
    bool is_own = false;  // nobody else uses the cluster at `offset`: it may be written
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  // in the file

    static Qcow2Cluster decode(const Qcow2Header& header, std::uint64_t entry);
    std::uint64_t encode() const;  // not for Compressed and Damaged, which are never written
};

class Qcow2Map {
public:
    Qcow2Map(Storage& storage, const Qcow2Header& header, Qcow2Refcounts& refcounts);
    DiskStatus load();

    DiskStatus find(std::uint64_t guest_cluster, Qcow2Cluster& cluster);
    // In memory, until the disk writes it back: first new tables (once the counts of their clusters are
    // written), then, when these are safe, the others.
    DiskStatus set(std::uint64_t guest_cluster, const Qcow2Cluster& cluster);

    bool is_dirty() const { return tables_.is_dirty() || !changed_l1_.empty(); }
    bool is_crowded() const { return tables_.is_crowded(); }
    DiskStatus write_new_tables() { return tables_.write_back(Qcow2Tables::Which::New); }
    DiskStatus write_links();

private:
    DiskStatus own_table(std::uint64_t l1_index, Qcow2Tables::Table*& table);

    Storage& storage_;
    const Qcow2Header& header_;
    Qcow2Refcounts& refcounts_;
    std::vector<std::uint64_t> l1_;  // entries as in the file
    std::set<std::uint64_t> changed_l1_;
    Qcow2Tables tables_;
};

}  // namespace undercroft
