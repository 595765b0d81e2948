// SPDX-License-Identifier: Apache-2.0
// RawDisk: a disk whose bytes are those of a file or a block device of the host.

#pragma once

#include "disk/host_file.hpp"

namespace undercroft {

class RawDisk final : public Disk {
public:
    // Errors are reasons alone: open_disk() says whose.
    static Result<std::unique_ptr<Disk>> open(std::unique_ptr<Storage> file, DiskAccess access);

    const std::string& name() const override { return file_->name(); }
    std::uint64_t size() const override { return size_; }
    bool is_read_only() const override { return access_ == DiskAccess::ReadOnly; }
    Topology topology() const override { return file_->topology(); }

    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override;
    DiskStatus write(std::uint64_t offset, std::span<const iovec> from) override;
    void will_read(std::uint64_t offset, std::uint64_t length) override { file_->will_read(offset, length); }
    std::optional<Origin> origin(std::uint64_t offset) override { return file_->origin(offset); }
    DiskStatus flush() override { return file_->sync(); }
    DiskStatus discard(std::uint64_t offset, std::uint64_t length) override;
    DiskStatus write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override;

private:
    RawDisk(std::unique_ptr<Storage> file, DiskAccess access)
        : file_{std::move(file)}, size_{file_->size()}, access_{access} {}

    std::unique_ptr<Storage> file_;
    std::uint64_t size_;
    DiskAccess access_;
};

}  // namespace undercroft
