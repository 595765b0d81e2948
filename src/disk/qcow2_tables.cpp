// SPDX-License-Identifier: Apache-2.0
#include "disk/qcow2_tables.hpp"

#include <algorithm>
#include <utility>

namespace undercroft {

Qcow2Tables::Qcow2Tables(Storage& storage, std::uint64_t cluster_size)
    : storage_{storage},
      cluster_size_{cluster_size},
      limit_{std::max<std::size_t>(16, (std::size_t{8} << 20) / cluster_size)} {}

DiskStatus Qcow2Tables::find(std::uint64_t offset, Table*& table) {
    auto found = tables_.find(offset);
    if (found == tables_.end()) {
        std::vector<std::byte> bytes(cluster_size_);
        if (auto status = storage_.read_bytes(offset, bytes); status != DiskStatus::Ok) return status;
        make_room();
        found = tables_.emplace(offset, Table{.bytes = std::move(bytes)}).first;
    }
    table = &found->second;
    table->last_use = ++uses_;
    return DiskStatus::Ok;
}

Qcow2Tables::Table& Qcow2Tables::make(std::uint64_t offset) {
    make_room();
    drop(offset);
    Table& table = tables_[offset];
    table = {.bytes = std::vector<std::byte>(cluster_size_), .is_new = true, .last_use = ++uses_};
    changed(table);
    return table;
}

void Qcow2Tables::changed(Table& table) {
    if (!table.is_dirty) ++dirty_;
    table.is_dirty = true;
}

void Qcow2Tables::drop(std::uint64_t offset) {
    auto found = tables_.find(offset);
    if (found == tables_.end()) return;
    if (found->second.is_dirty) --dirty_;
    tables_.erase(found);
}

DiskStatus Qcow2Tables::write_back(Which which) {
    for (auto& [offset, table] : tables_) {
        if (!table.is_dirty || (which == Which::New && !table.is_new)) continue;
        if (auto status = storage_.write_bytes(offset, table.bytes); status != DiskStatus::Ok) return status;
        table.is_dirty = table.is_new = false;
        --dirty_;
    }
    return DiskStatus::Ok;
}

void Qcow2Tables::make_room() {
    if (tables_.size() < limit_) return;
    auto oldest = tables_.end();
    for (auto entry = tables_.begin(); entry != tables_.end(); ++entry) {
        if (entry->second.is_dirty) continue;
        if (oldest == tables_.end() || entry->second.last_use < oldest->second.last_use) oldest = entry;
    }
    if (oldest != tables_.end()) tables_.erase(oldest);
}

}  // namespace undercroft
