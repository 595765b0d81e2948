// SPDX-License-Identifier: Apache-2.0
#include "share/descriptor_path.hpp"
#include "share/folder_server.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>

namespace undercroft {

bool FolderServer::is_name(std::string_view name) {
    return !name.empty() && name.find('/') == std::string_view::npos && name != "." && name != "..";
}

// Up to its zero, which has to come.
int FolderServer::take_name(Call& call, std::string& name) {
    name.clear();
    for (const iovec& piece : call.request.pieces()) {
        std::string_view bytes{static_cast<const char*>(piece.iov_base), piece.iov_len};
        for (char byte : bytes) {
            // Loaded once: the guest may write it meanwhile.
            if (byte == '\0') {
                call.request.drop_front(name.size() + 1);
                return 0;
            }
            if (name.size() == PATH_MAX) return -ENAMETOOLONG;
            name += byte;
        }
    }
    return -EINVAL;
}

int FolderServer::place(Call& call, Node*& parent, std::string& name, bool changes) {
    if (changes && read_only()) return -EROFS;
    if (int error = take_name(call, name); error != 0) return error;
    if (name.size() > NAME_MAX) return -ENAMETOOLONG;
    if (!is_name(name)) return -EINVAL;
    return node_of(call, parent);
}

int FolderServer::enter(Node& parent, const std::string& name, fuse_entry_out& entry) {
    int directory = nodes_.open(parent);
    if (directory < 0) return directory;
    Fd fd{::openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
    if (!fd) return -errno;
    return enter(parent, name, std::move(fd), entry);
}

int FolderServer::enter(Node& parent, const std::string& name, Fd fd, fuse_entry_out& entry) {
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return -errno;
    Node* node = nodes_.look_up(parent, name, status, std::move(fd));
    if (node == nullptr) return -ENFILE;
    entry = {};
    entry.nodeid = node->id;
    entry.entry_valid = entry.attr_valid = static_cast<std::uint64_t>(options_.validity.count());
    entry.attr = attributes_.of(status);
    return 0;
}

int FolderServer::answer_entry(Call& call, Node& parent, const std::string& name) {
    if (call.answer.size() < sizeof(fuse_entry_out)) return -ERANGE;  // or it would not be forgotten
    fuse_entry_out entry{};
    int error = enter(parent, name, entry);
    return error != 0 ? error : call.put(entry);
}

// That there is no such file may be remembered, too.
int FolderServer::look_up(Call& call) {
    Node* parent = nullptr;
    std::string name;
    if (int fd = place(call, parent, name, false); fd < 0) return fd;
    int error = answer_entry(call, *parent, name);
    if (error != -ENOENT) return error;
    fuse_entry_out none{};
    none.entry_valid = static_cast<std::uint64_t>(options_.validity.count());
    return call.put(none);
}

int FolderServer::read_link(Call& call) {
    Node* node = nullptr;
    int fd = node_of(call, node);
    if (fd < 0) return fd;
    std::array<char, PATH_MAX> target;
    ssize_t length = ::readlinkat(fd, "", target.data(), target.size());
    if (length < 0) return errno == ENOENT ? -EINVAL : -errno;  // not a link
    return call.put_bytes(std::as_bytes(std::span{target}).first(static_cast<std::size_t>(length)));
}

int FolderServer::make_link(Call& call) {
    fuse_link_in in{};
    if (!call.take(in)) return -EINVAL;
    Node* parent = nullptr;
    std::string name;
    int directory = place(call, parent, name, true);
    if (directory < 0) return directory;
    int file = descriptor(in.oldnodeid);
    if (file < 0) return file;
    if (::linkat(AT_FDCWD, DescriptorPath{file}.c_str(), directory, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
        return -errno;
    return answer_entry(call, *parent, name);
}

int FolderServer::give(const Call& call, int fd) {
    if (!attributes_.keeps_owners()) return 0;
    struct stat status {};
    if (::fstat(fd, &status) != 0) return -errno;
    // The group of a directory that hands its own on has been set.
    bool groups_differ = status.st_gid != ::getegid();
    gid_t group = groups_differ ? static_cast<gid_t>(-1) : call.header.gid;
    if (call.header.uid == status.st_uid && (groups_differ || group == status.st_gid)) return 0;
    if (::fchownat(fd, "", call.header.uid, group, AT_EMPTY_PATH) != 0) return -errno;
    // Which takes set-user-id bits away.
    if ((status.st_mode & (S_ISUID | S_ISGID)) != 0 && S_ISREG(status.st_mode))
        ::chmod(DescriptorPath{fd}.c_str(), status.st_mode & 07777);
    return 0;
}

int FolderServer::answer_made(Call& call, Node& parent, int directory, const std::string& name) {
    Fd made{::openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
    if (!made) return -errno;
    if (int error = give(call, made.get()); error != 0) return error;
    return answer_entry(call, parent, name);
}

int FolderServer::make_symlink(Call& call) {
    Node* parent = nullptr;
    std::string name;
    int directory = place(call, parent, name, true);
    if (directory < 0) return directory;
    std::string target;
    if (int error = take_name(call, target); error != 0) return error;
    if (::symlinkat(target.c_str(), directory, name.c_str()) != 0) return -errno;
    return answer_made(call, *parent, directory, name);
}

int FolderServer::make_node(Call& call) {
    fuse_mknod_in in{};
    if (!call.take(in)) return -EINVAL;
    Node* parent = nullptr;
    std::string name;
    int directory = place(call, parent, name, true);
    if (directory < 0) return directory;
    if (!S_ISREG(in.mode) && !S_ISFIFO(in.mode) && !S_ISSOCK(in.mode)) return -EPERM;
    if (::mknodat(directory, name.c_str(), in.mode, 0) != 0) return -errno;
    return answer_made(call, *parent, directory, name);
}

int FolderServer::make_directory(Call& call) {
    fuse_mkdir_in in{};
    if (!call.take(in)) return -EINVAL;
    Node* parent = nullptr;
    std::string name;
    int directory = place(call, parent, name, true);
    if (directory < 0) return directory;
    if (::mkdirat(directory, name.c_str(), in.mode & 07777) != 0) return -errno;
    return answer_made(call, *parent, directory, name);
}

// A file that goes may be open in the guest.
void FolderServer::pin_name(int parent, const std::string& name) {
    struct stat status {};
    if (::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (Node* node = nodes_.find(status); node != nullptr) nodes_.pin(*node);
}

int FolderServer::remove(Call& call, int flags) {
    Node* parent = nullptr;
    std::string name;
    int directory = place(call, parent, name, true);
    if (directory < 0) return directory;
    pin_name(directory, name);
    return ::unlinkat(directory, name.c_str(), flags) == 0 ? 0 : -errno;
}

int FolderServer::unlink(Call& call) { return remove(call, 0); }
int FolderServer::remove_directory(Call& call) { return remove(call, AT_REMOVEDIR); }

int FolderServer::rename(Call& call) {
    fuse_rename_in in{};
    return call.take(in) ? do_rename(call, in.newdir, 0) : -EINVAL;
}

int FolderServer::rename2(Call& call) {
    fuse_rename2_in in{};
    if (!call.take(in) || (in.flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0) return -EINVAL;
    return do_rename(call, in.newdir, in.flags);
}

int FolderServer::do_rename(Call& call, std::uint64_t new_parent, unsigned flags) {
    Node* from = nullptr;
    std::string old_name;
    std::string new_name;
    int old_directory = place(call, from, old_name, true);
    if (old_directory < 0) return old_directory;
    if (int error = take_name(call, new_name); error != 0) return error;
    if (new_name.size() > NAME_MAX) return -ENAMETOOLONG;
    if (!is_name(new_name)) return -EINVAL;
    Node* to = nodes_.find(new_parent);
    if (to == nullptr) return -ESTALE;
    int new_directory = nodes_.open(*to);
    if (new_directory < 0) return new_directory;
    if ((flags & RENAME_EXCHANGE) == 0) pin_name(new_directory, new_name);
    if (::renameat2(old_directory, old_name.c_str(), new_directory, new_name.c_str(), flags) != 0)
        return -errno;
    moved(*to, new_directory, new_name);
    if ((flags & RENAME_EXCHANGE) != 0) moved(*from, old_directory, old_name);
    return 0;
}

void FolderServer::moved(Node& parent, int fd, const std::string& name) {
    struct stat status {};
    if (::fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (Node* node = nodes_.find(status); node != nullptr) nodes_.move(*node, parent, name);
}

}  // namespace undercroft
