// SPDX-License-Identifier: Apache-2.0
// Qcow2Refcounts: which clusters of a qcow2 file are in use, and new ones.
//
// Counts change in memory; the disk (qcow2_disk.hpp) writes them back. A cluster that is freed is given out
// again only after write_frees(), when nothing in the file refers to it any more: so a crash at any moment
// may leave a cluster counted that nobody uses, but never one used that is not counted.

#pragma once

#include "base/log.hpp"
#include "disk/qcow2_header.hpp"
#include "disk/qcow2_tables.hpp"

#include <vector>

namespace undercroft {

class Qcow2Refcounts {
public:
    // `header` outlives it, and is told when the table moves.
    Qcow2Refcounts(Storage& storage, Qcow2Header& header);
    DiskStatus load();

    // A cluster of its own for the caller; its contents are anything.
    DiskStatus allocate(std::uint64_t& offset);
    // One user less for the clusters that hold [offset, offset + length).
    void free(std::uint64_t offset, std::uint64_t length);

    bool is_dirty() const { return blocks_.is_dirty() || !freed_.empty(); }
    bool is_crowded() const { return blocks_.is_crowded() || freed_.size() > 65536; }
    // The counts of what was allocated.
    DiskStatus write_allocations() { return blocks_.write_back(Qcow2Tables::Which::All); }
    // The counts of what was freed. What is unused then gives its space back to the host.
    DiskStatus write_frees();

private:
    std::uint64_t clusters_per_block() const { return header_.cluster_size() * 8 >> header_.refcount_order; }
    std::uint64_t count_at(const Qcow2Tables::Table& block, std::uint64_t index) const;
    void set_count(Qcow2Tables::Table& block, std::uint64_t index, std::uint64_t count);
    bool holds_tables(std::uint64_t offset) const;
    DiskStatus find_free_in(std::uint64_t block_index, std::uint64_t& cluster);
    DiskStatus add_block(std::uint64_t block_index);
    DiskStatus move_table(std::uint64_t block_index);
    DiskStatus write_table_entry(std::uint64_t block_index);
    DiskStatus release(std::uint64_t cluster);
    DiskStatus damaged(const char* what);

    Storage& storage_;
    Qcow2Header& header_;
    std::vector<std::uint64_t> table_;  // offsets of the blocks; 0: none yet
    Qcow2Tables blocks_;
    std::uint64_t first_free_ = 0;      // no cluster before it is free
    std::vector<std::uint64_t> freed_;  // clusters, once for each user less
    Once reported_;
};

}  // namespace undercroft
