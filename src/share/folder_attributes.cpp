// SPDX-License-Identifier: Apache-2.0
#include "share/descriptor_path.hpp"
#include "share/folder_server.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>

namespace undercroft {
namespace {

timespec time_to_set(std::uint32_t valid, std::uint32_t given, std::uint32_t now, std::uint64_t seconds,
                     std::uint32_t nanoseconds) {
    if ((valid & now) != 0) return {.tv_sec = 0, .tv_nsec = UTIME_NOW};
    if ((valid & given) == 0) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
    return {.tv_sec = static_cast<time_t>(seconds), .tv_nsec = nanoseconds};
}

}  // namespace

int FolderServer::answer_attributes(Call& call, int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return -errno;
    fuse_attr_out out{};
    out.attr_valid = static_cast<std::uint64_t>(options_.validity.count());
    out.attr = attributes_.of(status);
    return call.put(out);
}

int FolderServer::get_attributes(Call& call) {
    fuse_getattr_in in{};
    if (!call.take(in)) return -EINVAL;
    Node* node = nullptr;
    int fd = (in.getattr_flags & FUSE_GETATTR_FH) != 0 ? file_of(in.fh) : node_of(call, node);
    if (fd < 0) return fd;
    return answer_attributes(call, fd);
}

int FolderServer::set_attributes(Call& call) {
    if (read_only()) return -EROFS;
    fuse_setattr_in in{};
    if (!call.take(in)) return -EINVAL;
    Node* node = nullptr;
    int fd = node_of(call, node);
    if (fd < 0) return fd;
    int file = (in.valid & FATTR_FH) != 0 ? file_of(in.fh) : -1;
    if (int error = change(in, fd, file); error != 0) return error;
    return answer_attributes(call, fd);
}

int FolderServer::change(const fuse_setattr_in& in, int fd, int file) {
    DescriptorPath path{fd};
    struct stat status {};
    if (::fstat(fd, &status) != 0) return -errno;
    if ((in.valid & (FATTR_UID | FATTR_GID)) != 0) {
        uid_t user = (in.valid & FATTR_UID) != 0 ? attributes_.host_user(in.uid) : static_cast<uid_t>(-1);
        gid_t group = (in.valid & FATTR_GID) != 0 ? attributes_.host_group(in.gid) : static_cast<gid_t>(-1);
        if (::fchownat(fd, "", user, group, AT_EMPTY_PATH) != 0) return -errno;
    }
    if ((in.valid & FATTR_MODE) != 0) {
        if (S_ISLNK(status.st_mode)) return -EOPNOTSUPP;
        if (::chmod(path.c_str(), in.mode & 07777) != 0) return -errno;
    }
    if ((in.valid & FATTR_SIZE) != 0) {
        if (!S_ISREG(status.st_mode) || in.size > std::uint64_t{std::numeric_limits<off_t>::max()})
            return -EINVAL;
        auto size = static_cast<off_t>(in.size);
        if ((file >= 0 ? ::ftruncate(file, size) : ::truncate(path.c_str(), size)) != 0) return -errno;
    }
    std::array times{time_to_set(in.valid, FATTR_ATIME, FATTR_ATIME_NOW, in.atime, in.atimensec),
                     time_to_set(in.valid, FATTR_MTIME, FATTR_MTIME_NOW, in.mtime, in.mtimensec)};
    if ((in.valid & (FATTR_ATIME | FATTR_ATIME_NOW | FATTR_MTIME | FATTR_MTIME_NOW)) == 0) return 0;
    return ::utimensat(fd, "", times.data(), AT_EMPTY_PATH) == 0 ? 0 : -errno;
}

}  // namespace undercroft
