// SPDX-License-Identifier: Apache-2.0
// FolderServer: a folder of the host as a file system that speaks FUSE (linux/fuse.h, protocol 7.31 and
// later), as virtiofs does: bytes in, bytes out. Knows no device.
//
// The guest's kernel resolves paths and checks permissions; what arrives here is one name in one directory
// that was looked up before, so nothing leads out of the folder (node_table.hpp). Only regular files and
// directories are ever opened; symbolic links, devices, FIFOs and sockets are the guest's to interpret.
// Devices cannot be made. Everything in a request is the guest's, and hostile.
//
// Consistency: what the host changes, the guest sees within `Options::validity`, and with the next open() at
// once. What the guest writes is in the host's file when write() has returned, on the host's disk when
// fsync() has. Locks are the guest's own: the host does not see them. There are no extended attributes.
//
// Not thread-safe. Threads that serve should call use_own_umask(), or files get fewer permissions.

#pragma once

#include "base/buffers.hpp"
#include "base/result.hpp"
#include "share/attributes.hpp"
#include "share/directory_reader.hpp"
#include "share/node_table.hpp"

#include <linux/fuse.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace undercroft {

enum class FolderAccess : std::uint8_t { ReadOnly, ReadWrite };
enum class FolderSync : std::uint8_t {
    Honest,
    Ignored
};  // what the guest's sync() does; fsync() always works

struct FolderOptions {
    FolderAccess access = FolderAccess::ReadWrite;
    FolderSync sync = FolderSync::Honest;
    std::chrono::seconds validity{1};
};

class FolderServer {
public:
    static constexpr std::uint32_t most_data = 1u << 20;  // of one read or write

    static Result<std::unique_ptr<FolderServer>> open(const std::string& path, const FolderOptions& options);
    FolderServer(const FolderServer&) = delete;
    FolderServer& operator=(const FolderServer&) = delete;

    // Answers a request; blocks while the host works. Returns how many bytes of the answer there are; zero:
    // it wants none, or is too short to be one.
    std::uint32_t serve(Buffers& request, Buffers& answer);
    // The guest has started anew: it has nothing open and knows of nothing.
    void reset();

    // The calling thread creates files with the permissions that it says.
    static void use_own_umask();

    const std::string& path() const { return path_; }
    const NodeTable& nodes() const { return nodes_; }
    std::size_t open_handles() const { return files_.size() + directories_.size(); }

private:
    struct Call {
        fuse_in_header header;
        Buffers& request;  // behind the header
        Buffers& answer;   // behind its header
        std::uint64_t written = 0;

        template <class T>
        bool take(T& value) {
            return request.take_front(std::as_writable_bytes(std::span{&value, 1})) == sizeof value;
        }
        // Into `answer`; 0, or an error's negative number if there is no room.
        template <class T>
        int put(const T& value) {
            return put_bytes(std::as_bytes(std::span{&value, 1}));
        }
        int put_bytes(std::span<const std::byte> bytes);
    };
    using Handler = int (FolderServer::*)(Call&);  // 0, or an error's negative number

    FolderServer(std::string path, const FolderOptions& options, Fd root, const struct stat& status,
                 std::size_t most_files);
    static Handler handler_of(std::uint32_t opcode);
    bool serve_forget(Call& call);

    // folder_server.cpp
    int init(Call& call);
    int destroy(Call& call);
    int stat_file_system(Call& call);
    int sync_file_system(Call& call);

    // folder_names.cpp: what is called how
    int look_up(Call& call);
    int read_link(Call& call);
    int make_link(Call& call);
    int make_symlink(Call& call);
    int make_node(Call& call);
    int make_directory(Call& call);
    int unlink(Call& call);
    int remove_directory(Call& call);
    int rename(Call& call);
    int rename2(Call& call);

    // folder_attributes.cpp
    int get_attributes(Call& call);
    int set_attributes(Call& call);

    // folder_files.cpp: what is open
    int open_file(Call& call);
    int create(Call& call);
    int read(Call& call);
    int write(Call& call);
    int release(Call& call);
    int fsync(Call& call);
    int fallocate(Call& call);
    int seek(Call& call);
    int open_directory(Call& call);
    int read_directory(Call& call);
    int read_directory_plus(Call& call);
    int release_directory(Call& call);
    int sync_directory(Call& call);

    bool read_only() const { return options_.access == FolderAccess::ReadOnly; }
    // The descriptor of the request's node, or an error's negative number.
    int node_of(const Call& call, Node*& node);
    int descriptor(std::uint64_t id);
    // The next name of the request.
    static int take_name(Call& call, std::string& name);
    static bool is_name(std::string_view name);
    // A name in the request's directory, whose descriptor it returns, or an error's negative number.
    int place(Call& call, Node*& parent, std::string& name, bool changes);
    int enter(Node& parent, const std::string& name, fuse_entry_out& entry);
    int enter(Node& parent, const std::string& name, Fd fd, fuse_entry_out& entry);
    int answer_entry(Call& call, Node& parent, const std::string& name);
    int answer_made(Call& call, Node& parent, int directory, const std::string& name);
    // What was made just now belongs to who asked for it.
    int give(const Call& call, int fd);
    int remove(Call& call, int flags);
    int do_rename(Call& call, std::uint64_t new_parent, unsigned flags);
    void pin_name(int parent, const std::string& name);
    void moved(Node& parent, int fd, const std::string& name);
    int open_real(int fd, std::uint32_t flags, Fd& real);
    int file_of(std::uint64_t handle) const;  // its descriptor, or an error's negative number
    int open_node(Node& node, std::uint32_t flags, fuse_open_out& out);
    int add_file(Node& node, Fd fd, fuse_open_out& out);
    int list(Call& call, bool plus);
    int list_entry(Call& call, Node& directory, const DirectoryReader::Entry& entry, bool plus);
    int answer_attributes(Call& call, int fd);
    int change(const fuse_setattr_in& in, int fd, int file);

    std::string path_;
    FolderOptions options_;
    std::size_t most_handles_;
    Attributes attributes_;
    NodeTable nodes_;
    std::uint64_t next_handle_ = 1;
    std::unordered_map<std::uint64_t, Fd> files_;
    std::unordered_map<std::uint64_t, std::unique_ptr<DirectoryReader>> directories_;
};

}  // namespace undercroft
