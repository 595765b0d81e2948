// SPDX-License-Identifier: Apache-2.0
// Qcow2Disk: a disk in a qcow2 image, perhaps on a backing disk, whose bytes it shows where it has none of
// its own.
//
// The guest's data is written at once. What tells where it lies (tables, reference counts) is kept, and
// written by flush() in an order that leaves the image whole at every moment: counts and new tables; a sync;
// links to them; a sync; the counts of what is not used any more. A crash loses what was not flushed, and at
// most leaks clusters. Snapshots within the image are kept: what they use is copied before it is written.
//
// Source: QEMU docs/interop/qcow2.txt.

#pragma once

#include "disk/host_file.hpp"
#include "disk/qcow2_map.hpp"

#include <memory>
#include <string>
#include <vector>

namespace undercroft {

class Qcow2Disk final : public Disk {
public:
    // `header`: the parsed one of `storage`. `backing`: null, or what the header names. Errors are reasons
    // alone.
    static Result<std::unique_ptr<Disk>> open(std::unique_ptr<Storage> storage, Qcow2Header header,
                                              DiskAccess access, std::unique_ptr<Disk> backing);
    // Makes an empty image of `size` bytes of disk in `storage`, which is empty. `backing_file` and
    // `backing_format` are what its header shall say, or empty.
    static Result<Qcow2Header> create(Storage& storage, std::uint64_t size, std::string backing_file = {},
                                      std::string backing_format = {});
    ~Qcow2Disk() override;

    const std::string& name() const override { return storage_->name(); }
    std::uint64_t size() const override { return header_.size; }
    bool is_read_only() const override { return access_ == DiskAccess::ReadOnly; }
    Topology topology() const override;

    std::optional<Origin> origin(std::uint64_t offset) override;
    void will_read(std::uint64_t offset, std::uint64_t length) override;
    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override;
    DiskStatus write(std::uint64_t offset, std::span<const iovec> from) override;
    DiskStatus flush() override;
    DiskStatus discard(std::uint64_t offset, std::uint64_t length) override;
    DiskStatus write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override;

private:
    // A part of a request: `length` bytes of the disk from `offset` on that lie in one piece.
    struct Extent {
        Qcow2Cluster cluster;  // the first one
        std::uint64_t offset;
        std::uint64_t length;
    };

    Qcow2Disk(std::unique_ptr<Storage> storage, Qcow2Header header, DiskAccess access,
              std::unique_ptr<Disk> backing);

    std::uint64_t within_cluster(std::uint64_t offset) const { return offset & (header_.cluster_size() - 1); }
    DiskStatus find_extent(std::uint64_t offset, std::uint64_t length, Extent& extent);
    DiskStatus read_extent(const Extent& extent, std::span<const iovec> to);
    DiskStatus read_file(std::uint64_t offset, std::span<const iovec> to);
    DiskStatus read_backing(std::uint64_t offset, std::span<const iovec> to);
    DiskStatus read_compressed(const Extent& extent, std::span<const iovec> to);

    DiskStatus write_new(const Extent& extent, std::span<const iovec> from);
    DiskStatus write_filled(const Extent& extent, std::span<const iovec> from, std::uint64_t to);
    bool takes_part_only(const Qcow2Cluster& old, std::uint64_t to) const;
    DiskStatus zero_cluster(std::uint64_t guest_cluster, bool keeps_space);
    void give_back(const Qcow2Cluster& cluster);
    DiskStatus write_back();
    DiskStatus make_room() {
        return map_.is_crowded() || refcounts_.is_crowded() ? write_back() : DiskStatus::Ok;
    }
    DiskStatus damaged();

    std::unique_ptr<Storage> storage_;
    Qcow2Header header_;
    DiskAccess access_;
    std::unique_ptr<Disk> backing_;
    Qcow2Refcounts refcounts_;
    Qcow2Map map_;
    std::vector<std::byte> unpacked_;  // the compressed cluster at unpacked_at_ of the file
    std::uint64_t unpacked_at_ = 0;
    Once reported_;
};

}  // namespace undercroft
