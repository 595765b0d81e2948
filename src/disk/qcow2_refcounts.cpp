// SPDX-License-Identifier: Apache-2.0
#include "disk/qcow2_refcounts.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace undercroft {
namespace {

constexpr std::uint64_t block_offset_mask = ~std::uint64_t{511};

}  // namespace

Qcow2Refcounts::Qcow2Refcounts(Storage& storage, Qcow2Header& header)
    : storage_{storage}, header_{header}, blocks_{storage, header.cluster_size()} {}

DiskStatus Qcow2Refcounts::load() {
    std::vector<std::byte> bytes(header_.refcount_table_clusters * header_.cluster_size());
    auto status = storage_.read_bytes(header_.refcount_table_offset, bytes);
    if (status != DiskStatus::Ok) return status;
    table_.resize(bytes.size() / 8);
    for (std::size_t i = 0; i < table_.size(); ++i)
        table_[i] = load_big<std::uint64_t>(bytes.data() + i * 8) & block_offset_mask;
    return DiskStatus::Ok;
}

DiskStatus Qcow2Refcounts::damaged(const char* what) {
    if (reported_.first(reinterpret_cast<std::uintptr_t>(what)))
        log(LogLevel::Warn, "disk '{}': damaged: {}; 'qemu-img check' tells more", storage_.name(), what);
    return DiskStatus::Failed;
}

// Counts of less than a byte lie in it from its lowest bit on.
std::uint64_t Qcow2Refcounts::count_at(const Qcow2Tables::Table& block, std::uint64_t index) const {
    unsigned bits = 1u << header_.refcount_order;
    const std::byte* at = block.bytes.data() + index * bits / 8;
    switch (bits) {
        case 16: return load_big<std::uint16_t>(at);
        case 32: return load_big<std::uint32_t>(at);
        case 64: return load_big<std::uint64_t>(at);
        default: return std::to_integer<unsigned>(*at) >> (index * bits % 8) & ((1u << bits) - 1);
    }
}

void Qcow2Refcounts::set_count(Qcow2Tables::Table& block, std::uint64_t index, std::uint64_t count) {
    unsigned bits = 1u << header_.refcount_order;
    std::byte* at = block.bytes.data() + index * bits / 8;
    switch (bits) {
        case 16: store_big(at, static_cast<std::uint16_t>(count)); break;
        case 32: store_big(at, static_cast<std::uint32_t>(count)); break;
        case 64: store_big(at, count); break;
        default: {
            auto shift = static_cast<unsigned>(index * bits % 8);
            unsigned mask = ((1u << bits) - 1) << shift;
            *at = static_cast<std::byte>((std::to_integer<unsigned>(*at) & ~mask) |
                                         static_cast<unsigned>(count) << shift);
        }
    }
    blocks_.changed(block);
}

// A count of zero does not make it so: a damaged image must not be damaged further.
bool Qcow2Refcounts::holds_tables(std::uint64_t offset) const {
    auto within = [&](std::uint64_t begin, std::uint64_t length) {
        return offset + header_.cluster_size() > begin && offset < begin + length;
    };
    return offset == 0 || within(header_.l1_offset, header_.l1_entries * std::uint64_t{8}) ||
           within(header_.refcount_table_offset, header_.refcount_table_clusters * header_.cluster_size());
}

DiskStatus Qcow2Refcounts::allocate(std::uint64_t& offset) {
    for (;;) {
        std::uint64_t block_index = first_free_ / clusters_per_block();
        if (block_index >= table_.size() || table_[block_index] == 0) {
            if (auto status = add_block(block_index); status != DiskStatus::Ok) return status;
        }
        std::uint64_t cluster = 0;
        if (auto status = find_free_in(block_index, cluster); status != DiskStatus::Ok) return status;
        if (cluster == 0) continue;  // this block is full
        offset = cluster << header_.cluster_bits;
        return holds_tables(offset) ? damaged("a table lies in a cluster that is not in use")
                                    : DiskStatus::Ok;
    }
}

// Takes one, and first_free_ goes on behind it, or behind the block.
DiskStatus Qcow2Refcounts::find_free_in(std::uint64_t block_index, std::uint64_t& cluster) {
    Qcow2Tables::Table* block = nullptr;
    if (auto status = blocks_.find(table_[block_index], block); status != DiskStatus::Ok) return status;
    std::uint64_t begin = block_index * clusters_per_block();
    for (; first_free_ < begin + clusters_per_block(); ++first_free_) {
        if (count_at(*block, first_free_ - begin) != 0) continue;
        set_count(*block, first_free_ - begin, 1);
        cluster = first_free_++;
        break;
    }
    return DiskStatus::Ok;
}

// The block lies in the first of the clusters that it counts, none of which was in use. It is complete in the
// file before the table names it.
DiskStatus Qcow2Refcounts::add_block(std::uint64_t block_index) {
    std::uint64_t first = block_index * clusters_per_block();
    if (first >> (56 - header_.cluster_bits) != 0) return damaged("it cannot grow any more");
    std::uint64_t offset = first << header_.cluster_bits;
    if (holds_tables(offset)) return damaged("a table lies in a cluster that is not in use");
    Qcow2Tables::Table& block = blocks_.make(offset);
    set_count(block, 0, 1);
    DiskStatus status = block_index < table_.size() ? write_allocations() : move_table(block_index);
    if (status == DiskStatus::Ok) status = storage_.sync();
    if (status != DiskStatus::Ok) {
        blocks_.drop(offset);
        return status;
    }
    table_[block_index] = offset;
    return write_table_entry(block_index);
}

DiskStatus Qcow2Refcounts::write_table_entry(std::uint64_t block_index) {
    std::array<std::byte, 8> entry{};
    store_big(entry.data(), table_[block_index]);
    auto status = storage_.write_bytes(header_.refcount_table_offset + block_index * 8, entry);
    if (status != DiskStatus::Ok) table_[block_index] = 0;
    return status;
}

// To a table of twice the size, behind the new block `block_index`, which counts its clusters.
DiskStatus Qcow2Refcounts::move_table(std::uint64_t block_index) {
    std::uint64_t clusters = header_.refcount_table_clusters * std::uint64_t{2};
    if (clusters >= clusters_per_block() || block_index >= clusters * header_.cluster_size() / 8)
        return damaged("its table of reference counts is full, and cannot grow");
    std::uint64_t first = block_index * clusters_per_block();
    std::uint64_t offset = (first + 1) << header_.cluster_bits;
    std::vector<std::byte> bytes(clusters * header_.cluster_size());
    for (std::size_t i = 0; i < table_.size(); ++i) store_big(bytes.data() + i * 8, table_[i]);
    // The new table names the block from the beginning: nothing in the file names the new table before.
    store_big(bytes.data() + block_index * 8, first << header_.cluster_bits);
    Qcow2Tables::Table* block = nullptr;
    if (auto status = blocks_.find(first << header_.cluster_bits, block); status != DiskStatus::Ok)
        return status;
    for (std::uint64_t i = 0; i < clusters; ++i) set_count(*block, 1 + i, 1);
    auto status = write_allocations();
    if (status == DiskStatus::Ok) status = storage_.write_bytes(offset, bytes);
    if (status == DiskStatus::Ok) status = storage_.sync();
    if (status != DiskStatus::Ok) return status;
    std::array<std::byte, 12> field{};
    store_big(field.data(), offset);
    store_big(field.data() + 8, static_cast<std::uint32_t>(clusters));
    status = storage_.write_bytes(Qcow2Header::refcount_table_field, field);
    if (status != DiskStatus::Ok) return status;
    free(std::exchange(header_.refcount_table_offset, offset),
         std::exchange(header_.refcount_table_clusters, static_cast<std::uint32_t>(clusters)) *
             header_.cluster_size());
    table_.resize(bytes.size() / 8);
    return DiskStatus::Ok;
}

void Qcow2Refcounts::free(std::uint64_t offset, std::uint64_t length) {
    std::uint64_t end = (offset + length + header_.cluster_size() - 1) >> header_.cluster_bits;
    for (std::uint64_t cluster = offset >> header_.cluster_bits; cluster < end; ++cluster)
        freed_.push_back(cluster);
}

DiskStatus Qcow2Refcounts::write_frees() {
    while (!freed_.empty()) {
        if (auto status = release(freed_.back()); status != DiskStatus::Ok) return status;
        freed_.pop_back();
    }
    return blocks_.write_back(Qcow2Tables::Which::All);
}

DiskStatus Qcow2Refcounts::release(std::uint64_t cluster) {
    std::uint64_t block_index = cluster / clusters_per_block();
    std::uint64_t index = cluster % clusters_per_block();
    if (block_index >= table_.size() || table_[block_index] == 0) {
        damaged("a cluster was used that is not counted");
        return DiskStatus::Ok;
    }
    Qcow2Tables::Table* block = nullptr;
    if (auto status = blocks_.find(table_[block_index], block); status != DiskStatus::Ok) return status;
    std::uint64_t count = count_at(*block, index);
    if (count == 0) {
        damaged("a cluster was used that is not counted");
        return DiskStatus::Ok;
    }
    set_count(*block, index, count - 1);
    if (count > 1) return DiskStatus::Ok;
    first_free_ = std::min(first_free_, cluster);
    storage_.punch(cluster << header_.cluster_bits, header_.cluster_size());  // if it can
    return DiskStatus::Ok;
}

}  // namespace undercroft
