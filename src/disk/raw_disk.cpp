// SPDX-License-Identifier: Apache-2.0
#include "disk/raw_disk.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace undercroft {
namespace {

Result<std::uint64_t> size_of(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return host_error();
    if (S_ISREG(status.st_mode)) return static_cast<std::uint64_t>(status.st_size);
    if (!S_ISBLK(status.st_mode)) return Error{"neither a regular file nor a block device"};
    std::uint64_t size = 0;
    if (::ioctl(fd, BLKGETSIZE64, &size) != 0) return host_error();
    return size;
}

// Those of `buffers` from `first` on, without the `skip` bytes that are done of it; as many as there is room.
std::size_t rest(std::span<const iovec> buffers, std::size_t first, std::size_t skip, std::span<iovec> into) {
    std::size_t count = std::min(buffers.size() - first, into.size());
    std::copy_n(buffers.begin() + static_cast<std::ptrdiff_t>(first), count, into.begin());
    into[0].iov_base = static_cast<std::byte*>(into[0].iov_base) + skip;
    into[0].iov_len -= skip;
    return count;
}

}  // namespace

Result<std::unique_ptr<Disk>> RawDisk::open(const std::string& path, DiskAccess access) {
    std::string name = "disk '" + path + "'";
    int mode = access == DiskAccess::ReadOnly ? O_RDONLY : O_RDWR;
    Fd fd{::open(path.c_str(), mode | O_CLOEXEC | O_NONBLOCK)};  // a FIFO must not make us wait
    if (!fd) return host_error().in(name);
    auto size = size_of(fd.get());
    if (!size) return std::move(size.error()).in(name);
    if (*size == 0) return Error{"empty"}.in(name);
    if (*size % sector_size != 0)
        return Error{fmt::format("{} bytes, not a multiple of {}", *size, sector_size)}.in(name);
    if (::flock(fd.get(), (access == DiskAccess::ReadOnly ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return host_error().in(name);
        return Error{"in use by another machine, or given twice; only readers (',ro') can share it"}.in(name);
    }
    return std::unique_ptr<Disk>{new RawDisk{path, std::move(fd), *size, access}};
}

DiskStatus RawDisk::read(std::uint64_t offset, std::span<const iovec> to) {
    return transfer(Operation::Read, offset, to);
}

DiskStatus RawDisk::write(std::uint64_t offset, std::span<const iovec> from) {
    return transfer(Operation::Write, offset, from);
}

DiskStatus RawDisk::transfer(Operation operation, std::uint64_t offset, std::span<const iovec> buffers) {
    std::array<iovec, 128> now;
    std::size_t first = 0;
    std::size_t skip = 0;  // bytes done of the first
    while (first < buffers.size()) {
        auto count = static_cast<int>(rest(buffers, first, skip, now));
        auto at = static_cast<off_t>(offset);
        ssize_t done = operation == Operation::Read ? ::preadv(fd_.get(), now.data(), count, at)
                                                    : ::pwritev(fd_.get(), now.data(), count, at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail(operation, offset, errno);
        if (done == 0) return fail(operation, offset, EIO);  // the file has shrunk
        offset += static_cast<std::uint64_t>(done);
        skip += static_cast<std::size_t>(done);
        while (first < buffers.size() && skip >= buffers[first].iov_len) skip -= buffers[first++].iov_len;
    }
    return DiskStatus::Ok;
}

DiskStatus RawDisk::flush() {
    if (::fdatasync(fd_.get()) == 0) return DiskStatus::Ok;
    return fail(Operation::Flush, 0, errno);
}

DiskStatus RawDisk::allocate(int mode, Operation operation, std::uint64_t offset, std::uint64_t length) {
    int result = 0;
    do result = ::fallocate(fd_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length));
    while (result != 0 && errno == EINTR);
    if (result == 0) return DiskStatus::Ok;
    if (errno == EOPNOTSUPP || errno == ENODEV || errno == ENOTTY) return DiskStatus::Unsupported;
    return fail(operation, offset, errno);
}

DiskStatus RawDisk::discard(std::uint64_t offset, std::uint64_t length) {
    return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, Operation::Discard, offset, length);
}

DiskStatus RawDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) {
    if (may_unmap) {
        auto status =
            allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, Operation::WriteZeroes, offset, length);
        if (status != DiskStatus::Unsupported) return status;
    }
    auto status =
        allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, Operation::WriteZeroes, offset, length);
    if (status != DiskStatus::Unsupported) return status;
    static std::array<std::byte, 65536> zeros{};
    while (length > 0) {
        std::size_t now = std::min<std::uint64_t>(length, zeros.size());
        iovec buffer{zeros.data(), now};
        status = transfer(Operation::WriteZeroes, offset, {&buffer, 1});
        if (status != DiskStatus::Ok) return status;
        offset += now;
        length -= now;
    }
    return DiskStatus::Ok;
}

DiskStatus RawDisk::fail(Operation operation, std::uint64_t offset, int error) {
    constexpr std::array<const char*, 5> names{"read", "write", "flush", "discard", "write of zeros"};
    auto which = static_cast<unsigned>(operation);
    if (reported_.first(std::uint64_t{which} << 32 | static_cast<unsigned>(error)))
        log(LogLevel::Warn, "disk '{}': {} at {:#x} failed: {}; the guest gets an I/O error", path_,
            names[which], offset, std::generic_category().message(error));
    return DiskStatus::Failed;
}

}  // namespace undercroft
