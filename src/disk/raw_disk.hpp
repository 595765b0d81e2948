// SPDX-License-Identifier: Apache-2.0
// RawDisk: a file or a block device of the host whose bytes are the disk's.
//
// Through the host's page cache; flush() is fdatasync. The file is locked (flock) as long as the disk is
// open: for itself if it can be written, else shared with others who only read.

#pragma once

#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "disk/disk.hpp"

#include <memory>

namespace undercroft {

enum class DiskAccess : std::uint8_t { ReadWrite, ReadOnly };

class RawDisk final : public Disk {
public:
    // Errors: "disk 'PATH': reason".
    static Result<std::unique_ptr<Disk>> open(const std::string& path, DiskAccess access);

    const std::string& name() const override { return path_; }
    std::uint64_t size() const override { return size_; }
    bool is_read_only() const override { return access_ == DiskAccess::ReadOnly; }

    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override;
    DiskStatus write(std::uint64_t offset, std::span<const iovec> from) override;
    DiskStatus flush() override;
    DiskStatus discard(std::uint64_t offset, std::uint64_t length) override;
    DiskStatus write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override;

private:
    enum class Operation : std::uint8_t { Read, Write, Flush, Discard, WriteZeroes };

    RawDisk(std::string path, Fd fd, std::uint64_t size, DiskAccess access)
        : path_{std::move(path)}, fd_{std::move(fd)}, size_{size}, access_{access} {}

    DiskStatus transfer(Operation operation, std::uint64_t offset, std::span<const iovec> buffers);
    DiskStatus allocate(int mode, Operation operation, std::uint64_t offset, std::uint64_t length);
    DiskStatus fail(Operation operation, std::uint64_t offset, int error);

    std::string path_;
    Fd fd_;
    std::uint64_t size_;
    DiskAccess access_;
    Once reported_;
};

}  // namespace undercroft
