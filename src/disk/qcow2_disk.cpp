// SPDX-License-Identifier: Apache-2.0
#include "disk/qcow2_disk.hpp"

#include "disk/io_slice.hpp"
#include "disk/qcow2_inflate.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace undercroft {
namespace {

using Kind = Qcow2Cluster::Kind;

}  // namespace

Result<std::unique_ptr<Disk>> Qcow2Disk::open(std::unique_ptr<Storage> storage, Qcow2Header header,
                                              DiskAccess access, std::unique_ptr<Disk> backing) {
    if (access == DiskAccess::ReadWrite && (header.incompatible & Qcow2Header::Corrupt) != 0)
        return Error{"marked as damaged: 'qemu-img check -r all' may mend it"};
    if (access == DiskAccess::ReadWrite && (header.incompatible & Qcow2Header::Dirty) != 0)
        return Error{"its last writer did not close it: 'qemu-img check -r all' mends it"};
    std::unique_ptr<Qcow2Disk> disk{
        new Qcow2Disk{std::move(storage), std::move(header), access, std::move(backing)}};
    if (disk->refcounts_.load() != DiskStatus::Ok || disk->map_.load() != DiskStatus::Ok)
        return Error{"damaged: its tables cannot be read"};
    // What other features say of the contents is not true any more when we write.
    constexpr std::array<std::byte, 8> none{};
    if (access == DiskAccess::ReadWrite && disk->header_.autoclear != 0 &&
        disk->storage_->write_bytes(Qcow2Header::autoclear_field, none) != DiskStatus::Ok)
        return Error{"its header cannot be written"};
    return std::unique_ptr<Disk>{std::move(disk)};
}

Qcow2Disk::Qcow2Disk(std::unique_ptr<Storage> storage, Qcow2Header header, DiskAccess access,
                     std::unique_ptr<Disk> backing)
    : storage_{std::move(storage)},
      header_{std::move(header)},
      access_{access},
      backing_{std::move(backing)},
      refcounts_{*storage_, header_},
      map_{*storage_, header_, refcounts_} {}

Qcow2Disk::~Qcow2Disk() {
    if (!is_read_only()) (void)write_back();  // the log has the reason
}

DiskStatus Qcow2Disk::damaged() {
    if (reported_.first(0))
        log(LogLevel::Warn,
            "disk '{}': damaged: an entry of an L2 table is none; 'qemu-img check' tells more", name());
    return DiskStatus::Failed;
}

DiskStatus Qcow2Disk::find_extent(std::uint64_t offset, std::uint64_t length, Extent& extent) {
    std::uint64_t guest_cluster = offset >> header_.cluster_bits;
    extent = {{}, offset, std::min(length, header_.cluster_size() - within_cluster(offset))};
    if (auto status = map_.find(guest_cluster, extent.cluster); status != DiskStatus::Ok) return status;
    Kind kind = extent.cluster.kind;
    if (kind == Kind::Damaged) return damaged();
    if (kind == Kind::Compressed) return DiskStatus::Ok;
    for (std::uint64_t next = 1; extent.length < length; ++next) {
        Qcow2Cluster cluster;
        if (auto status = map_.find(guest_cluster + next, cluster); status != DiskStatus::Ok) return status;
        if (cluster.kind != kind || cluster.is_own != extent.cluster.is_own) break;
        if (kind == Kind::Data && cluster.offset != extent.cluster.offset + next * header_.cluster_size())
            break;
        extent.length = std::min(length, extent.length + header_.cluster_size());
    }
    return DiskStatus::Ok;
}

// Pages are those of the file in which they lie as they are.
std::optional<Disk::Origin> Qcow2Disk::origin(std::uint64_t offset) {
    Qcow2Cluster cluster;
    if (header_.cluster_size() < origin_size ||
        map_.find(offset >> header_.cluster_bits, cluster) != DiskStatus::Ok)
        return std::nullopt;
    if (cluster.kind == Kind::Data) return storage_->origin(cluster.offset + within_cluster(offset));
    bool behind = backing_ == nullptr || offset + origin_size > backing_->size();
    return cluster.kind == Kind::Unallocated && !behind ? backing_->origin(offset) : std::nullopt;
}

// Clusters lie anywhere in the file, but each as a whole.
Disk::Topology Qcow2Disk::topology() const {
    auto cluster = static_cast<std::uint32_t>(header_.cluster_size());
    Topology file = storage_->topology();
    return {.physical_block_size = std::min(file.physical_block_size, cluster),
            .minimum_io_size = std::min(file.minimum_io_size, cluster),
            .optimal_io_size = cluster};
}

DiskStatus Qcow2Disk::read(std::uint64_t offset, std::span<const iovec> to) {
    std::uint64_t length = total_length(to);
    Extent extent{};
    for (std::uint64_t done = 0; done < length; done += extent.length) {
        auto status = find_extent(offset + done, length - done, extent);
        if (status == DiskStatus::Ok) status = read_extent(extent, slice(to, done, extent.length));
        if (status != DiskStatus::Ok) return status;
    }
    return DiskStatus::Ok;
}

void Qcow2Disk::will_read(std::uint64_t offset, std::uint64_t length) {
    Extent extent{};
    for (std::uint64_t done = 0; done < length; done += extent.length) {
        if (find_extent(offset + done, length - done, extent) != DiskStatus::Ok) return;
        if (extent.cluster.kind == Kind::Data)
            storage_->will_read(extent.cluster.offset + within_cluster(extent.offset), extent.length);
        else if (extent.cluster.kind == Kind::Unallocated && backing_ != nullptr)
            backing_->will_read(extent.offset, extent.length);
    }
}

DiskStatus Qcow2Disk::read_extent(const Extent& extent, std::span<const iovec> to) {
    switch (extent.cluster.kind) {
        case Kind::Data: return read_file(extent.cluster.offset + within_cluster(extent.offset), to);
        case Kind::Compressed: return read_compressed(extent, to);
        case Kind::Unallocated: return read_backing(extent.offset, to);
        default: fill_with_zeros(to); return DiskStatus::Ok;
    }
}

// The last cluster may lie partly, or as a whole, behind the end of the file.
DiskStatus Qcow2Disk::read_file(std::uint64_t offset, std::span<const iovec> to) {
    std::uint64_t length = total_length(to);
    std::uint64_t there = offset < storage_->size() ? std::min(length, storage_->size() - offset) : 0;
    if (there == length) return storage_->read(offset, to);
    fill_with_zeros(slice(to, there, length - there));
    return there == 0 ? DiskStatus::Ok : storage_->read(offset, slice(to, 0, there));
}

DiskStatus Qcow2Disk::read_backing(std::uint64_t offset, std::span<const iovec> to) {
    std::uint64_t length = total_length(to);
    std::uint64_t end = backing_ == nullptr ? 0 : backing_->size();
    std::uint64_t there = offset < end ? std::min(length, end - offset) : 0;
    if (there < length) fill_with_zeros(slice(to, there, length - there));
    return there == 0 ? DiskStatus::Ok : backing_->read(offset, slice(to, 0, there));
}

DiskStatus Qcow2Disk::read_compressed(const Extent& extent, std::span<const iovec> to) {
    const Qcow2Cluster& cluster = extent.cluster;
    if (unpacked_.empty() || unpacked_at_ != cluster.offset) {
        std::vector<std::byte> packed(cluster.length);
        iovec buffer{packed.data(), packed.size()};
        unpacked_.clear();
        if (auto status = read_file(cluster.offset, {&buffer, 1}); status != DiskStatus::Ok) return status;
        std::vector<std::byte> bytes(header_.cluster_size());
        if (!qcow2_inflate(header_.compression, packed, bytes)) return damaged();
        unpacked_ = std::move(bytes);
        unpacked_at_ = cluster.offset;
    }
    scatter(unpacked_.data() + within_cluster(extent.offset), to);
    return DiskStatus::Ok;
}

DiskStatus Qcow2Disk::write(std::uint64_t offset, std::span<const iovec> from) {
    if (is_read_only()) return DiskStatus::Failed;
    std::uint64_t length = total_length(from);
    Extent extent{};
    for (std::uint64_t done = 0; done < length; done += extent.length) {
        auto status = make_room();
        if (status == DiskStatus::Ok) status = find_extent(offset + done, length - done, extent);
        if (status != DiskStatus::Ok) return status;
        if (extent.cluster.kind == Kind::Data && extent.cluster.is_own) {
            std::uint64_t at = extent.cluster.offset + within_cluster(extent.offset);
            status = storage_->write(at, slice(from, done, extent.length));
        } else {
            extent.length = std::min(extent.length, header_.cluster_size() - within_cluster(extent.offset));
            status = write_new(extent, slice(from, done, extent.length));
        }
        if (status != DiskStatus::Ok) return status;
    }
    return DiskStatus::Ok;
}

// To a cluster of its own, of which `extent` is a part or all.
DiskStatus Qcow2Disk::write_new(const Extent& extent, std::span<const iovec> from) {
    const Qcow2Cluster& old = extent.cluster;
    bool is_reserved = old.kind == Kind::Zero && old.is_own;
    Qcow2Cluster fresh{.kind = Kind::Data, .is_own = true, .offset = old.offset};
    if (!is_reserved) {
        if (auto status = refcounts_.allocate(fresh.offset); status != DiskStatus::Ok) return status;
    }
    bool is_whole = extent.length == header_.cluster_size();
    auto status = is_whole || takes_part_only(old, fresh.offset)
                      ? storage_->write(fresh.offset + within_cluster(extent.offset), from)
                      : write_filled(extent, from, fresh.offset);
    if (status == DiskStatus::Ok) status = map_.set(extent.offset >> header_.cluster_bits, fresh);
    if (is_reserved) return status;
    if (status == DiskStatus::Ok)
        give_back(old);
    else
        refcounts_.free(fresh.offset, header_.cluster_size());
    return status;
}

// Behind the file's end everything reads as zeros that is not written.
bool Qcow2Disk::takes_part_only(const Qcow2Cluster& old, std::uint64_t to) const {
    bool was_zeros = old.kind == Kind::Zero || (old.kind == Kind::Unallocated && backing_ == nullptr);
    return was_zeros && to >= storage_->size();
}

// All of the cluster: what was there before, and `from` in the midst of it.
DiskStatus Qcow2Disk::write_filled(const Extent& extent, std::span<const iovec> from, std::uint64_t to) {
    std::vector<std::byte> bytes(header_.cluster_size());
    iovec buffer{bytes.data(), bytes.size()};
    std::uint64_t within = within_cluster(extent.offset);
    Extent whole{.cluster = extent.cluster, .offset = extent.offset - within, .length = bytes.size()};
    if (auto status = read_extent(whole, {&buffer, 1}); status != DiskStatus::Ok) return status;
    gather(from, bytes.data() + within);
    return storage_->write_bytes(to, bytes);
}

void Qcow2Disk::give_back(const Qcow2Cluster& cluster) {
    if (cluster.kind == Kind::Compressed)
        refcounts_.free(cluster.offset, cluster.length);
    else if (cluster.offset != 0)
        refcounts_.free(cluster.offset, header_.cluster_size());
}

DiskStatus Qcow2Disk::write_back() {
    auto status = refcounts_.write_allocations();
    if (status == DiskStatus::Ok) status = map_.write_new_tables();
    if (status == DiskStatus::Ok) status = storage_->sync();
    if (status != DiskStatus::Ok) return status;
    if (map_.is_dirty()) {
        status = map_.write_links();
        if (status == DiskStatus::Ok) status = storage_->sync();
        if (status != DiskStatus::Ok) return status;
    }
    return refcounts_.write_frees();
}

DiskStatus Qcow2Disk::flush() { return is_read_only() ? DiskStatus::Ok : write_back(); }

// Makes a whole cluster read as zeros. Unsupported: this image has no way to say so.
DiskStatus Qcow2Disk::zero_cluster(std::uint64_t guest_cluster, bool keeps_space) {
    Qcow2Cluster old;
    auto status = make_room();
    if (status == DiskStatus::Ok) status = map_.find(guest_cluster, old);
    if (status != DiskStatus::Ok) return status;
    if (old.kind == Kind::Damaged) return damaged();
    if (old.kind == Kind::Unallocated && backing_ == nullptr) return DiskStatus::Ok;
    if (old.kind == Kind::Zero && (keeps_space || old.offset == 0)) return DiskStatus::Ok;
    if (!header_.has_zero_clusters() && backing_ != nullptr) return DiskStatus::Unsupported;
    Qcow2Cluster zero;
    if (header_.has_zero_clusters()) zero.kind = Kind::Zero;
    bool reserves = keeps_space && header_.has_zero_clusters() && old.kind == Kind::Data && old.is_own;
    if (reserves) {
        zero.is_own = true;
        zero.offset = old.offset;
    }
    status = map_.set(guest_cluster, zero);
    if (status == DiskStatus::Ok && !reserves) give_back(old);
    return status;
}

DiskStatus Qcow2Disk::discard(std::uint64_t offset, std::uint64_t length) {
    if (is_read_only()) return DiskStatus::Failed;
    std::uint64_t end = offset + length;
    if (end < size()) end -= within_cluster(end);
    std::uint64_t begin = (offset + header_.cluster_size() - 1) & ~(header_.cluster_size() - 1);
    for (; begin < end; begin += header_.cluster_size()) {
        auto status = zero_cluster(begin >> header_.cluster_bits, false);
        if (status != DiskStatus::Ok) return status;
    }
    return DiskStatus::Ok;
}

DiskStatus Qcow2Disk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) {
    if (is_read_only()) return DiskStatus::Failed;
    static std::array<std::byte, 65536> zeros{};
    for (std::uint64_t end = offset + length; offset < end;) {
        std::uint64_t part = std::min(end - offset, header_.cluster_size() - within_cluster(offset));
        bool is_whole =
            within_cluster(offset) == 0 && (part == header_.cluster_size() || offset + part == size());
        auto status =
            is_whole ? zero_cluster(offset >> header_.cluster_bits, !may_unmap) : DiskStatus::Unsupported;
        if (status == DiskStatus::Unsupported) {
            part = std::min<std::uint64_t>(part, zeros.size());
            iovec buffer{zeros.data(), part};
            status = write(offset, {&buffer, 1});
        }
        if (status != DiskStatus::Ok) return status;
        offset += part;
    }
    return DiskStatus::Ok;
}

}  // namespace undercroft
