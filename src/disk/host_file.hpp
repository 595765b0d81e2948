// SPDX-License-Identifier: Apache-2.0
// HostFile: a file or a block device of the host, as storage.
//
// Through the host's page cache; sync() is fdatasync. The file is locked (flock) as long as it is open: for
// itself if it can be written, else shared with others who only read.

#pragma once

#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "disk/file_window.hpp"
#include "disk/images.hpp"
#include "disk/storage.hpp"

#include <memory>
#include <optional>

namespace undercroft {

enum class DiskAccess : std::uint8_t { ReadWrite, ReadOnly };

class HostFile final : public Storage {
public:
    // Errors are reasons alone, such as "No such file or directory": the caller says whose.
    static Result<std::unique_ptr<HostFile>> open(const std::string& path, DiskAccess access);
    // A new, empty file, which must not exist.
    static Result<std::unique_ptr<HostFile>> create(const std::string& path);
    // One without a name, in the folder for temporary files: it is gone when it is closed.
    static Result<std::unique_ptr<HostFile>> temporary();

    // It is one of these from now on, as it is only read.
    void join(Images& images);
    std::optional<Disk::Origin> origin(std::uint64_t offset) const override {
        if (!image_ || !Images::is_shared(image_) || offset + Disk::origin_size > size_) return std::nullopt;
        return Disk::Origin{image_->number, offset / Disk::origin_size};
    }

    // Whether both are the same file.
    bool is_same(const HostFile& other) const;

    const std::string& name() const override { return path_; }
    std::uint64_t size() const override { return size_; }
    Disk::Topology topology() const override { return topology_; }
    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override;
    DiskStatus write(std::uint64_t offset, std::span<const iovec> from) override;
    void will_read(std::uint64_t offset, std::uint64_t length) override;
    DiskStatus punch(std::uint64_t offset, std::uint64_t length) override;
    DiskStatus zero(std::uint64_t offset, std::uint64_t length) override;

private:
    enum class Operation : std::uint8_t { Read, Write, Sync, Punch, Zero };

    HostFile(std::string path, Fd fd, std::uint64_t size);
    static Result<std::unique_ptr<HostFile>> locked(std::string path, Fd fd, int lock);

    DiskStatus try_sync() override;
    DiskStatus transfer(Operation operation, std::uint64_t offset, std::span<const iovec> buffers);
    DiskStatus allocate(int mode, Operation operation, std::uint64_t offset, std::uint64_t length);
    DiskStatus fail(Operation operation, std::uint64_t offset, int error);

    std::string path_;
    Fd fd_;
    FileWindow window_{fd_.get()};
    std::uint64_t size_;
    Disk::Topology topology_;
    unsigned announced_ = 0;  // so many reads that are to come
    Once reported_;
    std::shared_ptr<const Image> image_;
};

}  // namespace undercroft
