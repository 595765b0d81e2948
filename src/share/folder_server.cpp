// SPDX-License-Identifier: Apache-2.0
#include "share/folder_server.hpp"

#include "share/descriptor_path.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace undercroft {
namespace {

// Of one folder: the process's files are those of all its machines.
std::size_t fair_share_of_files() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = 1024;
    return std::clamp<std::size_t>(limit.rlim_cur / 8, 64, 16384);
}

}  // namespace

Result<std::unique_ptr<FolderServer>> FolderServer::open(const std::string& path,
                                                         const FolderOptions& options) {
    std::string name = "share '" + path + "'";
    Fd root{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
    struct stat status {};
    if (!root || ::fstat(root.get(), &status) != 0) return host_error().in(name);
    Fd again{::open(DescriptorPath{root.get()}.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!again) return host_error().in(name);
    return std::unique_ptr<FolderServer>{
        new FolderServer{path, options, std::move(root), status, fair_share_of_files()}};
}

FolderServer::FolderServer(std::string path, const FolderOptions& options, Fd root, const struct stat& status,
                           std::size_t most_files)
    : path_{std::move(path)},
      options_{options},
      most_handles_{most_files / 2},
      nodes_{std::move(root), status, most_files / 4} {}

void FolderServer::use_own_umask() {
    if (::unshare(CLONE_FS) == 0) ::umask(0);
}

void FolderServer::reset() {
    files_.clear();
    directories_.clear();
    nodes_.clear();
}

int FolderServer::Call::put_bytes(std::span<const std::byte> bytes) {
    if (answer.size() < bytes.size()) return -ERANGE;
    written += answer.fill_front(bytes);
    return 0;
}

FolderServer::Handler FolderServer::handler_of(std::uint32_t opcode) {
    switch (opcode) {
        case FUSE_INIT: return &FolderServer::init;
        case FUSE_DESTROY: return &FolderServer::destroy;
        case FUSE_STATFS: return &FolderServer::stat_file_system;
        case FUSE_SYNCFS: return &FolderServer::sync_file_system;
        case FUSE_LOOKUP: return &FolderServer::look_up;
        case FUSE_READLINK: return &FolderServer::read_link;
        case FUSE_LINK: return &FolderServer::make_link;
        case FUSE_SYMLINK: return &FolderServer::make_symlink;
        case FUSE_MKNOD: return &FolderServer::make_node;
        case FUSE_MKDIR: return &FolderServer::make_directory;
        case FUSE_UNLINK: return &FolderServer::unlink;
        case FUSE_RMDIR: return &FolderServer::remove_directory;
        case FUSE_RENAME: return &FolderServer::rename;
        case FUSE_RENAME2: return &FolderServer::rename2;
        case FUSE_GETATTR: return &FolderServer::get_attributes;
        case FUSE_SETATTR: return &FolderServer::set_attributes;
        case FUSE_OPEN: return &FolderServer::open_file;
        case FUSE_CREATE: return &FolderServer::create;
        case FUSE_READ: return &FolderServer::read;
        case FUSE_WRITE: return &FolderServer::write;
        case FUSE_RELEASE: return &FolderServer::release;
        case FUSE_FSYNC: return &FolderServer::fsync;
        case FUSE_FALLOCATE: return &FolderServer::fallocate;
        case FUSE_LSEEK: return &FolderServer::seek;
        case FUSE_OPENDIR: return &FolderServer::open_directory;
        case FUSE_READDIR: return &FolderServer::read_directory;
        case FUSE_READDIRPLUS: return &FolderServer::read_directory_plus;
        case FUSE_RELEASEDIR: return &FolderServer::release_directory;
        case FUSE_FSYNCDIR: return &FolderServer::sync_directory;
        default: return nullptr;  // the kernel does without, for good
    }
}

std::uint32_t FolderServer::serve(Buffers& request, Buffers& answer) {
    Call call{.header = {}, .request = request, .answer = answer};
    if (!call.take(call.header)) return 0;
    nodes_.trim();
    if (serve_forget(call)) return 0;
    Buffers header;
    if (answer.move_front(sizeof(fuse_out_header), header) < sizeof(fuse_out_header)) return 0;
    Handler handler = handler_of(call.header.opcode);
    int error = handler == nullptr ? -ENOSYS : (this->*handler)(call);
    std::uint64_t length = sizeof(fuse_out_header) + (error == 0 ? call.written : 0);
    fuse_out_header out{
        .len = static_cast<std::uint32_t>(length), .error = error, .unique = call.header.unique};
    header.fill_front(std::as_bytes(std::span{&out, 1}));
    return out.len;
}

// Those that have no answer.
bool FolderServer::serve_forget(Call& call) {
    auto forget = [this](std::uint64_t id, std::uint64_t lookups) {
        if (Node* node = nodes_.find(id)) nodes_.forget(*node, lookups);
    };
    if (call.header.opcode == FUSE_FORGET) {
        fuse_forget_in in{};
        if (call.take(in)) forget(call.header.nodeid, in.nlookup);
        return true;
    }
    if (call.header.opcode == FUSE_BATCH_FORGET) {
        fuse_batch_forget_in in{};
        fuse_forget_one one{};
        if (!call.take(in)) return true;
        for (std::uint32_t n = 0; n < in.count && call.take(one); ++n) forget(one.nodeid, one.nlookup);
        return true;
    }
    return call.header.opcode == FUSE_INTERRUPT;
}

int FolderServer::init(Call& call) {
    // What a driver that knows less does not send stays zero.
    fuse_init_in in{};
    call.request.take_front(std::as_writable_bytes(std::span{&in, 1}));
    constexpr std::uint32_t oldest_minor = 31;  // of Linux 5.4, the first with virtiofs
    if (in.major != FUSE_KERNEL_VERSION || in.minor < oldest_minor) return -EPROTO;
    reset();
    fuse_init_out out{};
    out.major = FUSE_KERNEL_VERSION;
    out.minor = std::min<std::uint32_t>(in.minor, FUSE_KERNEL_MINOR_VERSION);
    out.max_readahead = in.max_readahead;
    out.flags = in.flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC | FUSE_AUTO_INVAL_DATA |
                            FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS |
                            FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS);
    out.max_background = 64;
    out.congestion_threshold = 48;
    out.max_write = most_data;
    out.time_gran = 1;
    out.max_pages = most_data >> 12;
    return call.put(out);
}

int FolderServer::destroy(Call&) {
    reset();
    return 0;
}

int FolderServer::stat_file_system(Call& call) {
    Node* node = nullptr;
    if (int fd = node_of(call, node); fd < 0) return fd;
    struct statfs status {};
    if (::fstatfs(nodes_.root().fd.get(), &status) != 0) return -errno;
    fuse_statfs_out out{};
    out.st.blocks = status.f_blocks;
    out.st.bfree = status.f_bfree;
    out.st.bavail = status.f_bavail;
    out.st.files = status.f_files;
    out.st.ffree = status.f_ffree;
    out.st.bsize = static_cast<std::uint32_t>(status.f_bsize);
    out.st.namelen = static_cast<std::uint32_t>(status.f_namelen);
    out.st.frsize = static_cast<std::uint32_t>(status.f_frsize);
    return call.put(out);
}

int FolderServer::sync_file_system(Call&) {
    if (read_only() || options_.sync == FolderSync::Ignored) return 0;
    Fd root;
    if (int error = open_real(nodes_.root().fd.get(), O_RDONLY | O_DIRECTORY, root); error != 0) return error;
    return ::syncfs(root.get()) == 0 ? 0 : -errno;
}

int FolderServer::descriptor(std::uint64_t id) {
    Node* node = nodes_.find(id);
    return node == nullptr ? -ESTALE : nodes_.open(*node);
}

int FolderServer::node_of(const Call& call, Node*& node) {
    node = nodes_.find(call.header.nodeid);
    return node == nullptr ? -ESTALE : nodes_.open(*node);
}

int FolderServer::open_real(int fd, std::uint32_t flags, Fd& real) {
    real = Fd{::open(DescriptorPath{fd}.c_str(), static_cast<int>(flags) | O_CLOEXEC)};
    return real ? 0 : -errno;
}

}  // namespace undercroft
