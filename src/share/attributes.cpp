// SPDX-License-Identifier: Apache-2.0
#include "share/attributes.hpp"

#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

namespace undercroft {
namespace {

// As Linux writes a device's number in 32 bits.
std::uint32_t encoded(dev_t device) {
    unsigned minor = gnu_dev_minor(device);
    return (minor & 0xff) | gnu_dev_major(device) << 8 | (minor & ~0xffu) << 12;
}

}  // namespace

Attributes::Attributes() : user_{::geteuid()}, group_{user_ == 0 ? 0 : ::getegid()} {}

std::uint64_t Attributes::number(dev_t device, ino_t inode) {
    auto known = std::ranges::find(devices_, device);
    auto index = static_cast<std::uint64_t>(known - devices_.begin());
    if (known == devices_.end()) devices_.push_back(device);
    return inode ^ index << 48;
}

fuse_attr Attributes::of(const struct stat& status) {
    fuse_attr attr{};
    attr.ino = number(status.st_dev, status.st_ino);
    attr.size = static_cast<std::uint64_t>(status.st_size);
    attr.blocks = static_cast<std::uint64_t>(status.st_blocks);
    attr.atime = static_cast<std::uint64_t>(status.st_atim.tv_sec);
    attr.mtime = static_cast<std::uint64_t>(status.st_mtim.tv_sec);
    attr.ctime = static_cast<std::uint64_t>(status.st_ctim.tv_sec);
    attr.atimensec = static_cast<std::uint32_t>(status.st_atim.tv_nsec);
    attr.mtimensec = static_cast<std::uint32_t>(status.st_mtim.tv_nsec);
    attr.ctimensec = static_cast<std::uint32_t>(status.st_ctim.tv_nsec);
    attr.mode = status.st_mode;
    attr.nlink = static_cast<std::uint32_t>(status.st_nlink);
    attr.uid = status.st_uid == user_ ? 0 : status.st_uid;
    attr.gid = status.st_gid == group_ ? 0 : status.st_gid;
    attr.rdev = encoded(status.st_rdev);
    attr.blksize = static_cast<std::uint32_t>(status.st_blksize);
    return attr;
}

}  // namespace undercroft
