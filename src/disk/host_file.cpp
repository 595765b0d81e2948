// SPDX-License-Identifier: Apache-2.0
#include "disk/host_file.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

namespace undercroft {
namespace {

// An announcement takes a tenth of the time of a small read from the host's memory, so reads are announced
// only while some had to be fetched: so many after one that took longer than any from memory. Of large ones,
// the host reads ahead by itself.
constexpr unsigned announced_after_waiting = 1024;
constexpr std::chrono::microseconds longest_from_memory{20};
constexpr std::uint64_t most_announced = 128 * 1024;

Result<std::uint64_t> size_of(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return host_error();
    if (S_ISREG(status.st_mode)) return static_cast<std::uint64_t>(status.st_size);
    if (!S_ISBLK(status.st_mode)) return Error{"neither a regular file nor a block device"};
    std::uint64_t size = 0;
    if (::ioctl(fd, BLKGETSIZE64, &size) != 0) return host_error();
    return size;
}

// Of a file: its file system's blocks, at most pages, as it goes through the page cache.
Disk::Topology topology_of(int fd) {
    constexpr std::uint32_t page_size = 4096;
    Disk::Topology found;
    struct stat status {};
    if (::fstat(fd, &status) != 0) return found;
    if (S_ISREG(status.st_mode)) {
        auto block =
            static_cast<std::uint32_t>(std::clamp<long>(status.st_blksize, Disk::sector_size, 1 << 24));
        found.physical_block_size = found.minimum_io_size = std::min(std::bit_floor(block), page_size);
        if (block > page_size) found.optimal_io_size = block;
        return found;
    }
    unsigned value = 0;
    int offset = 0;
    if (::ioctl(fd, BLKPBSZGET, &value) == 0 && std::has_single_bit(value))
        found.physical_block_size = std::max<unsigned>(value, Disk::sector_size);
    if (::ioctl(fd, BLKALIGNOFF, &offset) == 0 && offset > 0)
        found.alignment_offset = static_cast<std::uint32_t>(offset);
    if (::ioctl(fd, BLKIOMIN, &value) == 0) found.minimum_io_size = value;
    if (::ioctl(fd, BLKIOOPT, &value) == 0) found.optimal_io_size = value;
    return found;
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

HostFile::HostFile(std::string path, Fd fd, std::uint64_t size)
    : path_{std::move(path)}, fd_{std::move(fd)}, size_{size}, topology_{topology_of(fd_.get())} {}

Result<std::unique_ptr<HostFile>> HostFile::locked(std::string path, Fd fd, int lock) {
    auto size = size_of(fd.get());
    if (!size) return size.error();
    if (::flock(fd.get(), lock | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return host_error();
        return Error{"in use by another machine, or given twice; only readers (',ro') can share it"};
    }
    return std::unique_ptr<HostFile>{new HostFile{std::move(path), std::move(fd), *size}};
}

Result<std::unique_ptr<HostFile>> HostFile::open(const std::string& path, DiskAccess access) {
    bool reads_only = access == DiskAccess::ReadOnly;
    // Without waiting for the other end, should it be a FIFO.
    Fd fd{::open(path.c_str(), (reads_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK)};
    if (!fd) return host_error();
    return locked(path, std::move(fd), reads_only ? LOCK_SH : LOCK_EX);
}

Result<std::unique_ptr<HostFile>> HostFile::create(const std::string& path) {
    Fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
    if (!fd) return host_error();
    return locked(path, std::move(fd), LOCK_EX);
}

Result<std::unique_ptr<HostFile>> HostFile::temporary() {
    std::error_code error;
    std::string folder = std::filesystem::temp_directory_path(error);
    if (error) return Error{"no folder for temporary files: " + error.message()};
    Fd fd{::open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)};
    if (!fd) return host_error().in("a temporary file in '" + folder + "'");
    return locked("a temporary file in " + folder, std::move(fd), LOCK_EX);
}

bool HostFile::is_same(const HostFile& other) const {
    struct stat one {};
    struct stat two {};
    return ::fstat(fd_.get(), &one) == 0 && ::fstat(other.fd_.get(), &two) == 0 && one.st_dev == two.st_dev &&
           one.st_ino == two.st_ino;
}

void HostFile::join(Images& images) {
    struct stat status {};
    if (::fstat(fd_.get(), &status) == 0) image_ = images.opened(status.st_dev, status.st_ino);
}

DiskStatus HostFile::read(std::uint64_t offset, std::span<const iovec> to) {
    if (window_.read(offset, to)) return DiskStatus::Ok;
    auto begin = std::chrono::steady_clock::now();
    DiskStatus status = transfer(Operation::Read, offset, to);
    if (std::chrono::steady_clock::now() - begin > longest_from_memory) announced_ = announced_after_waiting;
    return status;
}

DiskStatus HostFile::write(std::uint64_t offset, std::span<const iovec> from) {
    return window_.write(offset, from) ? DiskStatus::Ok : transfer(Operation::Write, offset, from);
}

void HostFile::will_read(std::uint64_t offset, std::uint64_t length) {
    if (announced_ == 0 || length > most_announced) return;
    --announced_;
    (void)::posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(length),
                          POSIX_FADV_WILLNEED);
}

DiskStatus HostFile::transfer(Operation operation, std::uint64_t offset, std::span<const iovec> buffers) {
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
        if (operation == Operation::Write) size_ = std::max(size_, offset);
    }
    return DiskStatus::Ok;
}

DiskStatus HostFile::try_sync() {
    int result = 0;
    do result = ::fdatasync(fd_.get());
    while (result != 0 && errno == EINTR);  // which reports nothing yet
    return result == 0 ? DiskStatus::Ok : fail(Operation::Sync, 0, errno);
}

DiskStatus HostFile::allocate(int mode, Operation operation, std::uint64_t offset, std::uint64_t length) {
    int result = 0;
    do
        result = ::fallocate(fd_.get(), mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                             static_cast<off_t>(length));
    while (result != 0 && errno == EINTR);
    if (result == 0) return DiskStatus::Ok;
    // EINVAL: of a device with blocks larger than sectors, a part of a block.
    if (errno == EOPNOTSUPP || errno == ENODEV || errno == ENOTTY || errno == EINVAL)
        return DiskStatus::Unsupported;
    return fail(operation, offset, errno);
}

DiskStatus HostFile::punch(std::uint64_t offset, std::uint64_t length) {
    return allocate(FALLOC_FL_PUNCH_HOLE, Operation::Punch, offset, length);
}

DiskStatus HostFile::zero(std::uint64_t offset, std::uint64_t length) {
    return allocate(FALLOC_FL_ZERO_RANGE, Operation::Zero, offset, length);
}

DiskStatus HostFile::fail(Operation operation, std::uint64_t offset, int error) {
    constexpr std::array<const char*, 5> names{"read", "write", "flush", "discard", "write of zeros"};
    bool full = error == ENOSPC || error == EDQUOT;
    const char* meaning = full ? "" : "; the guest gets an I/O error";
    if (operation == Operation::Sync)
        meaning =
            "; what the guest wrote since its last flush may be lost, and each flush of this disk fails "
            "from now on, until the program starts again";
    auto which = static_cast<unsigned>(operation);
    if (reported_.first(std::uint64_t{which} << 32 | static_cast<unsigned>(error)))
        log(LogLevel::Warn, "disk '{}': {} at {:#x} failed: {}{}", path_, names[which], offset,
            std::generic_category().message(error), meaning);
    return full ? DiskStatus::Full : DiskStatus::Failed;
}

}  // namespace undercroft
