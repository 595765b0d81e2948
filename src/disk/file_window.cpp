// SPDX-License-Identifier: Apache-2.0
#include "disk/file_window.hpp"

#include "disk/guarded_copy.hpp"
#include "disk/io_slice.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace undercroft {
namespace {

constexpr std::uint64_t page_size = 4096;

std::byte* bytes(const iovec& buffer) { return static_cast<std::byte*>(buffer.iov_base); }

// mincore() tells the truth to those who might write the file, and to all others that everything is there.
bool may_look_into_memory(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 && (::geteuid() == 0 || ::geteuid() == status.st_uid ||
                                         ::faccessat(fd, "", W_OK, AT_EMPTY_PATH | AT_EACCESS) == 0);
}

// (What has its node there, such as a block device in /dev, does not have its bytes there.)
bool is_writable_tmpfs(int fd) {
    struct stat status {};
    struct statfs system {};
    return (::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && ::fstat(fd, &status) == 0 &&
           S_ISREG(status.st_mode) && ::fstatfs(fd, &system) == 0 && system.f_type == TMPFS_MAGIC;
}

}  // namespace

FileWindow::~FileWindow() {
    if (data_ != nullptr) ::munmap(data_, size);
}

bool FileWindow::read(std::uint64_t offset, std::span<const iovec> to) {
    std::uint64_t length = total_length(to);
    const std::byte* from = find(offset, length);
    if (from == nullptr) return false;
    for (const iovec& buffer : to) {
        if (!guarded_copy(bytes(buffer), from, buffer.iov_len)) return false;
        from += buffer.iov_len;
    }
    return !file_ends_before(offset + length);  // its last page shows zeros behind its end
}

bool FileWindow::write(std::uint64_t offset, std::span<const iovec> from) {
    if (number_ && !is_writable_) return false;
    std::uint64_t length = total_length(from);
    std::byte* to = find(offset, length);
    if (to == nullptr || !is_writable_) return false;
    for (const iovec& buffer : from) {
        if (!guarded_copy(to, bytes(buffer), buffer.iov_len)) return false;
        to += buffer.iov_len;
    }
    constexpr std::array<timespec, 2> modified{{{0, UTIME_OMIT}, {0, UTIME_NOW}}};  // tmpfs would not notice
    return ::futimens(fd_, modified.data()) == 0 && !file_ends_before(offset + length);
}

std::byte* FileWindow::find(std::uint64_t offset, std::uint64_t length) {
    bool is_there = length >= smallest_request && !is_unusable_ && shows(offset, length) &&
                    is_in_memory(offset % size, length);
    return is_there ? data_ + offset % size : nullptr;
}

// It moves with the second request in a row that wants it at the same place.
bool FileWindow::shows(std::uint64_t offset, std::uint64_t length) {
    std::uint64_t number = offset / size;
    if ((offset + length - 1) / size != number) return false;
    if (number_ == number) return true;
    if (wanted_ == number) return move_to(number);
    wanted_ = number;
    return false;
}

bool FileWindow::move_to(std::uint64_t number) {
    is_unusable_ = true;
    if (!may_look_into_memory(fd_)) return false;
    is_writable_ = is_writable_tmpfs(fd_);
    int protection = is_writable_ ? PROT_READ | PROT_WRITE : PROT_READ;
    int flags = data_ == nullptr ? MAP_SHARED : MAP_SHARED | MAP_FIXED;
    void* mapped = ::mmap(data_, size, protection, flags, fd_, static_cast<off_t>(number * size));
    if (mapped == MAP_FAILED) return false;
    data_ = static_cast<std::byte*>(mapped);
    ::madvise(data_, size, MADV_DONTDUMP);
    number_ = number;
    wanted_.reset();
    is_unusable_ = false;
    return true;
}

bool FileWindow::is_in_memory(std::uint64_t at, std::uint64_t length) {
    std::uint64_t begin = at / page_size * page_size;
    std::uint64_t pages = (at + length - begin + page_size - 1) / page_size;
    in_memory_.resize(std::max<std::size_t>(in_memory_.size(), pages));
    if (::mincore(data_ + begin, pages * page_size, in_memory_.data()) != 0) return false;
    return std::all_of(in_memory_.begin(), in_memory_.begin() + static_cast<std::ptrdiff_t>(pages),
                       [](unsigned char page) { return (page & 1) != 0; });
}

bool FileWindow::file_ends_before(std::uint64_t end) const {
    struct stat status {};
    return ::fstat(fd_, &status) != 0 ||
           (S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) < end);
}

}  // namespace undercroft
