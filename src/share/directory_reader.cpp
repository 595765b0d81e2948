// SPDX-License-Identifier: Apache-2.0
#include "share/directory_reader.hpp"

#include <dirent.h>
#include <unistd.h>

#include <cerrno>

namespace undercroft {

int DirectoryReader::seek(std::int64_t place) {
    if (place == place_) return 0;
    if (::lseek(fd_.get(), place, SEEK_SET) < 0) return -errno;
    place_ = place;
    used_ = filled_ = 0;
    return 0;
}

int DirectoryReader::peek(Entry& entry) {
    if (used_ == filled_) {
        ssize_t got = ::getdents64(fd_.get(), bytes_.data(), bytes_.size());
        if (got < 0) return -errno;
        used_ = 0;
        filled_ = static_cast<std::size_t>(got);
        if (got == 0) return 0;
    }
    const auto* raw = reinterpret_cast<const dirent64*>(bytes_.data() + used_);
    entry = {.inode = raw->d_ino, .next = raw->d_off, .type = raw->d_type, .name = raw->d_name};
    return 1;
}

void DirectoryReader::accept(const Entry& entry) {
    used_ += reinterpret_cast<const dirent64*>(bytes_.data() + used_)->d_reclen;
    place_ = entry.next;
}

}  // namespace undercroft
