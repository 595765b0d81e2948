// SPDX-License-Identifier: Apache-2.0
#include "share/descriptor_path.hpp"
#include "share/folder_server.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <limits>

namespace undercroft {
namespace {

// All of `pieces` at `offset`, as far as it goes, by `transfer(pieces, count, offset)`. Returns how many
// bytes, or the first one's error's negative number.
template <class Transfer>
std::int64_t transfer_all(Buffers& pieces, std::uint64_t offset, Transfer transfer) {
    std::int64_t done = 0;
    while (!pieces.empty()) {
        auto count = static_cast<int>(std::min<std::size_t>(pieces.pieces().size(), IOV_MAX));
        ssize_t now = transfer(pieces.pieces().data(), count, static_cast<off_t>(offset));
        if (now < 0 && errno == EINTR) continue;
        if (now < 0) return done > 0 ? done : -errno;
        if (now == 0) break;
        pieces.drop_front(static_cast<std::size_t>(now));
        offset += static_cast<std::uint64_t>(now);
        done += now;
    }
    return done;
}

bool fits(std::uint64_t offset, std::uint64_t length) {
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
    return offset <= most && length <= most - offset;
}

bool same_time(const timespec& a, const timespec& b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

// Of the guest's, those that are for the host.
std::uint32_t host_flags(std::uint32_t flags) { return flags & (O_ACCMODE | O_TRUNC); }
bool writes(std::uint32_t flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0; }

}  // namespace

int FolderServer::file_of(std::uint64_t handle) const {
    auto found = files_.find(handle);
    return found == files_.end() ? -EBADF : found->second.get();
}

// What the guest's cache holds of the file goes on only if the file is what it was at the last open().
int FolderServer::add_file(Node& node, Fd fd, fuse_open_out& out) {
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return -errno;
    bool unchanged = status.st_size == node.cached_size && same_time(status.st_mtim, node.cached_time);
    node.cached_size = status.st_size;
    node.cached_time = status.st_mtim;
    out = {};
    out.fh = next_handle_++;
    out.open_flags = unchanged ? FOPEN_KEEP_CACHE : 0;
    files_.emplace(out.fh, std::move(fd));
    return 0;
}

int FolderServer::open_node(Node& node, std::uint32_t flags, fuse_open_out& out) {
    int fd = nodes_.open(node);
    if (fd < 0) return fd;
    struct stat status {};
    if (::fstat(fd, &status) != 0) return -errno;
    if (!S_ISREG(status.st_mode)) return S_ISDIR(status.st_mode) ? -EISDIR : -ENXIO;
    Fd real;
    int error = open_real(fd, host_flags(flags), real);
    return error != 0 ? error : add_file(node, std::move(real), out);
}

int FolderServer::open_file(Call& call) {
    fuse_open_in in{};
    if (!call.take(in)) return -EINVAL;
    if (read_only() && writes(in.flags)) return -EROFS;
    if (open_handles() >= most_handles_) return -ENFILE;
    if (call.answer.size() < sizeof(fuse_open_out)) return -ERANGE;  // or it would not be released
    Node* node = nodes_.find(call.header.nodeid);
    if (node == nullptr) return -ESTALE;
    fuse_open_out out{};
    int error = open_node(*node, in.flags, out);
    return error != 0 ? error : call.put(out);
}

int FolderServer::create(Call& call) {
    fuse_create_in in{};
    if (!call.take(in)) return -EINVAL;
    Node* parent = nullptr;
    std::string name;
    int directory = place(call, parent, name, true);
    if (directory < 0) return directory;
    if (call.answer.size() < sizeof(fuse_entry_out) + sizeof(fuse_open_out)) return -ERANGE;
    if (open_handles() >= most_handles_) return -ENFILE;
    // Nothing that is there is opened by its name, since it might be a FIFO or a device.
    auto flags = static_cast<int>(host_flags(in.flags)) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    Fd file{::openat(directory, name.c_str(), flags, in.mode & 07777)};
    fuse_entry_out entry{};
    fuse_open_out out{};
    int error = 0;
    if (file) {
        Fd path{::open(DescriptorPath{file.get()}.c_str(), O_PATH | O_CLOEXEC)};
        if (!path) return -errno;
        error = give(call, path.get());
        if (error == 0) error = enter(*parent, name, std::move(path), entry);
        if (error == 0) error = add_file(*nodes_.find(entry.nodeid), std::move(file), out);
    } else {
        if (errno != EEXIST || (in.flags & O_EXCL) != 0) return -errno;
        error = enter(*parent, name, entry);  // somebody else's since the guest looked
        if (error == 0) error = open_node(*nodes_.find(entry.nodeid), in.flags, out);
    }
    if (error != 0) {
        if (Node* node = nodes_.find(entry.nodeid); node != nullptr) nodes_.forget(*node, 1);
        return error;
    }
    error = call.put(entry);
    return error != 0 ? error : call.put(out);
}

// Right into the guest's memory.
int FolderServer::read(Call& call) {
    fuse_read_in in{};
    if (!call.take(in)) return -EINVAL;
    int fd = file_of(in.fh);
    if (fd < 0) return fd;
    if (!fits(in.offset, in.size)) return -EINVAL;
    Buffers data;
    call.answer.move_front(std::min(in.size, most_data), data);
    std::int64_t done = transfer_all(data, in.offset, [fd](const iovec* pieces, int count, off_t offset) {
        return ::preadv(fd, pieces, count, offset);
    });
    if (done < 0) return static_cast<int>(done);
    call.written += static_cast<std::uint64_t>(done);
    return 0;
}

int FolderServer::write(Call& call) {
    fuse_write_in in{};
    if (!call.take(in)) return -EINVAL;
    int fd = file_of(in.fh);
    if (fd < 0) return fd;
    if (!fits(in.offset, in.size) || in.size > most_data) return -EINVAL;
    Buffers data;
    if (call.request.move_front(in.size, data) < in.size) return -EINVAL;
    // Pages of the guest's cache know their places.
    bool append = (in.flags & O_APPEND) != 0 && (in.write_flags & FUSE_WRITE_CACHE) == 0;
    std::int64_t done = transfer_all(data, in.offset, [&](const iovec* pieces, int count, off_t offset) {
        return ::pwritev2(fd, pieces, count, offset, append ? RWF_APPEND : 0);
    });
    if (done < 0) return static_cast<int>(done);
    return call.put(fuse_write_out{.size = static_cast<std::uint32_t>(done), .padding = 0});
}

int FolderServer::release(Call& call) {
    fuse_release_in in{};
    if (!call.take(in)) return -EINVAL;
    return files_.erase(in.fh) == 1 ? 0 : -EBADF;
}

int FolderServer::fsync(Call& call) {
    fuse_fsync_in in{};
    if (!call.take(in)) return -EINVAL;
    int fd = file_of(in.fh);
    if (fd < 0) return fd;
    bool data_only = (in.fsync_flags & FUSE_FSYNC_FDATASYNC) != 0;
    return (data_only ? ::fdatasync(fd) : ::fsync(fd)) == 0 ? 0 : -errno;
}

int FolderServer::fallocate(Call& call) {
    fuse_fallocate_in in{};
    if (!call.take(in)) return -EINVAL;
    int fd = file_of(in.fh);
    if (fd < 0) return fd;
    constexpr unsigned known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
    if ((in.mode & ~known) != 0) return -EOPNOTSUPP;
    if (!fits(in.offset, in.length)) return -EFBIG;
    auto offset = static_cast<off_t>(in.offset);
    return ::fallocate(fd, static_cast<int>(in.mode), offset, static_cast<off_t>(in.length)) == 0 ? 0
                                                                                                  : -errno;
}

int FolderServer::seek(Call& call) {
    fuse_lseek_in in{};
    if (!call.take(in)) return -EINVAL;
    int fd = file_of(in.fh);
    if (fd < 0) return fd;
    if ((in.whence != SEEK_DATA && in.whence != SEEK_HOLE) || !fits(in.offset, 0)) return -EINVAL;
    off_t at = ::lseek(fd, static_cast<off_t>(in.offset), static_cast<int>(in.whence));
    if (at < 0) return -errno;
    return call.put(fuse_lseek_out{.offset = static_cast<std::uint64_t>(at)});
}

int FolderServer::open_directory(Call& call) {
    fuse_open_in in{};
    if (!call.take(in)) return -EINVAL;
    if (open_handles() >= most_handles_) return -ENFILE;
    Node* node = nullptr;
    int fd = node_of(call, node);
    if (fd < 0) return fd;
    struct stat status {};
    if (::fstat(fd, &status) != 0) return -errno;
    if (!S_ISDIR(status.st_mode)) return -ENOTDIR;
    Fd real;
    if (int error = open_real(fd, O_RDONLY | O_DIRECTORY, real); error != 0) return error;
    fuse_open_out out{};
    out.fh = next_handle_;
    if (int error = call.put(out); error != 0) return error;
    directories_.emplace(next_handle_++, std::make_unique<DirectoryReader>(std::move(real)));
    return 0;
}

int FolderServer::release_directory(Call& call) {
    fuse_release_in in{};
    if (!call.take(in)) return -EINVAL;
    return directories_.erase(in.fh) == 1 ? 0 : -EBADF;
}

int FolderServer::sync_directory(Call& call) {
    fuse_fsync_in in{};
    if (!call.take(in)) return -EINVAL;
    auto found = directories_.find(in.fh);
    if (found == directories_.end()) return -EBADF;
    return ::fsync(found->second->fd()) == 0 ? 0 : -errno;
}

int FolderServer::read_directory(Call& call) { return list(call, false); }
int FolderServer::read_directory_plus(Call& call) { return list(call, true); }

int FolderServer::list(Call& call, bool plus) {
    fuse_read_in in{};
    if (!call.take(in)) return -EINVAL;
    Node* node = nullptr;
    if (int fd = node_of(call, node); fd < 0) return fd;
    auto found = directories_.find(in.fh);
    if (found == directories_.end()) return -EBADF;
    DirectoryReader& directory = *found->second;
    if (int error = directory.seek(static_cast<std::int64_t>(in.offset)); error != 0) return error;
    std::uint64_t room = std::min<std::uint64_t>({in.size, call.answer.size(), most_data});
    for (;;) {
        DirectoryReader::Entry entry;
        int got = directory.peek(entry);
        if (got < 0 && call.written == 0) return got;
        if (got <= 0) return 0;
        std::uint64_t head = plus ? sizeof(fuse_direntplus) : sizeof(fuse_dirent);
        if (call.written + FUSE_DIRENT_ALIGN(head + entry.name.size()) > room) return 0;
        if (int error = list_entry(call, *node, entry, plus); error != 0) return error;
        directory.accept(entry);
    }
}

// With a node of number zero, and no attributes, where there is nothing to look up.
int FolderServer::list_entry(Call& call, Node& directory, const DirectoryReader::Entry& entry, bool plus) {
    fuse_direntplus out{};
    std::string name{entry.name};
    bool real = is_name(name);
    if (plus && real) {
        if (int error = enter(directory, name, out.entry_out); error != 0) out.entry_out = {};
    }
    out.dirent.ino = real ? attributes_.number(directory.identity.first, entry.inode)
                          : attributes_.number(directory.identity.first, directory.identity.second);
    if (out.entry_out.nodeid != 0) out.dirent.ino = out.entry_out.attr.ino;
    out.dirent.off = static_cast<std::uint64_t>(entry.next);
    out.dirent.namelen = static_cast<std::uint32_t>(name.size());
    out.dirent.type = entry.type;
    std::size_t head = plus ? sizeof out : sizeof out.dirent;
    auto bytes = std::as_bytes(std::span{&out, 1}).last(sizeof out);
    if (int error = call.put_bytes(plus ? bytes : std::as_bytes(std::span{&out.dirent, 1})); error != 0)
        return error;
    name.resize(FUSE_DIRENT_ALIGN(head + name.size()) - head, '\0');
    return call.put_bytes(std::as_bytes(std::span{name}));
}

}  // namespace undercroft
