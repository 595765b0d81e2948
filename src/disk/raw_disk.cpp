// SPDX-License-Identifier: Apache-2.0
#include "disk/raw_disk.hpp"

#include <fmt/format.h>

#include <utility>

namespace undercroft {

Result<std::unique_ptr<Disk>> RawDisk::open(std::unique_ptr<Storage> file, DiskAccess access) {
    if (file->size() % sector_size != 0)
        return Error{fmt::format("{} bytes, not a multiple of {}", file->size(), sector_size)};
    return std::unique_ptr<Disk>{new RawDisk{std::move(file), access}};
}

DiskStatus RawDisk::read(std::uint64_t offset, std::span<const iovec> to) { return file_->read(offset, to); }

DiskStatus RawDisk::write(std::uint64_t offset, std::span<const iovec> from) {
    return file_->write(offset, from);
}

DiskStatus RawDisk::discard(std::uint64_t offset, std::uint64_t length) {
    return file_->punch(offset, length);
}

DiskStatus RawDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) {
    if (may_unmap) {
        auto status = file_->punch(offset, length);
        if (status != DiskStatus::Unsupported) return status;
    }
    auto status = file_->zero(offset, length);
    return status == DiskStatus::Unsupported ? write_zero_bytes(*file_, offset, length) : status;
}

}  // namespace undercroft
