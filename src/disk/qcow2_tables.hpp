// SPDX-License-Identifier: Apache-2.0
// Qcow2Tables: the clusters of a qcow2 image that hold tables (L2 tables, blocks of reference counts),
// cached.
//
// What is changed stays here until write_back(), which its owner calls in the order that keeps the image
// whole. Clean tables are dropped when there are many. At most some 8 MiB, as long as the owner writes back
// when is_crowded().

#pragma once

#include "disk/storage.hpp"

#include <functional>
#include <unordered_map>
#include <vector>

namespace undercroft {

class Qcow2Tables {
public:
    struct Table {
        std::vector<std::byte> bytes;  // as in the file
        bool is_dirty = false;
        bool is_new = false;  // nothing in the file refers to it yet
        std::uint64_t last_use = 0;
    };

    Qcow2Tables(Storage& storage, std::uint64_t cluster_size);

    // The table at `offset` of the file. Null with a status when it cannot be read. Valid until the next
    // call.
    DiskStatus find(std::uint64_t offset, Table*& table);
    // A table of zeros for a cluster that was just allocated, dirty and new.
    Table& make(std::uint64_t offset);
    // The cluster is free, or another's.
    void drop(std::uint64_t offset);

    // Its bytes were changed.
    void changed(Table& table);
    bool is_dirty() const { return dirty_ > 0; }
    bool is_crowded() const { return dirty_ >= limit_ / 2; }

    enum class Which : std::uint8_t { New, All };
    // Writes dirty tables, which then are neither dirty nor new. Those that could not be written stay dirty.
    DiskStatus write_back(Which which);

private:
    void make_room();

    Storage& storage_;
    std::uint64_t cluster_size_;
    std::size_t limit_;  // tables
    std::size_t dirty_ = 0;
    std::uint64_t uses_ = 0;
    std::unordered_map<std::uint64_t, Table> tables_;  // by offset
};

}  // namespace undercroft
