// SPDX-License-Identifier: Apache-2.0
// What the targets of shared folders have in common: a folder that everything leads out of, and requests.
//
// The folder holds a file, a directory, a FIFO and links that lead out of it, to a secret beside it. What is
// outside may be neither changed nor read: a read shows in the time of the last access (unless the host's
// file system does not keep it).

#pragma once

#include "input.hpp"
#include "share/folder_server.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

namespace undercroft::fuzz {

namespace fs = std::filesystem;

class SharedFolder {
public:
    SharedFolder() {
        std::string name = (fs::temp_directory_path() / "undercroft-fuzz-share-XXXXXX").string();
        CHECK(mkdtemp(name.data()) != nullptr);
        outside_ = name;
        std::ofstream{secret()} << "secret";
        // Or a guest would fill the host's disk, as it may.
        std::signal(SIGXFSZ, SIG_IGN);
        constexpr rlim_t largest_file = 64 << 20;
        rlimit limit{.rlim_cur = largest_file, .rlim_max = largest_file};
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    }
    ~SharedFolder() { fs::remove_all(outside_); }

    // Its server, after it has been made anew.
    std::unique_ptr<FolderServer> serve(Input& input) {
        fs::path folder = shared();
        fs::remove_all(folder);
        fs::create_directories(folder / "dir");
        std::ofstream{folder / "file"} << "contents";
        std::ofstream{folder / "dir" / "inner"} << "inner";
        fs::create_symlink("../secret", folder / "out");
        fs::create_directory_symlink("..", folder / "up");
        CHECK(mkfifo((folder / "fifo").c_str(), 0666) == 0);
        for (const fs::path& path : {secret(), outside_}) {
            std::array<timespec, 2> times{
                {{.tv_sec = never_read, .tv_nsec = 0}, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}}};
            CHECK(utimensat(AT_FDCWD, path.c_str(), times.data(), 0) == 0);
        }
        FolderOptions options;
        options.access = input.below(4) == 3 ? FolderAccess::ReadOnly : FolderAccess::ReadWrite;
        options.sync = FolderSync::Ignored;
        auto server = FolderServer::open(folder.string(), options);
        CHECK(server, "the fixture is a folder");
        return *std::move(server);
    }

    // What somebody on the host may do to it meanwhile; nothing that follows a link or waits.
    void change(Input& input) {
        std::error_code fails;  // the guest may have been there before
        fs::path changed = shared() / (input.below(2) == 0 ? "dir" : "file");
        if (input.below(2) == 0) return fs::rename(changed, shared() / "a", fails);
        fs::remove_all(changed, fails);
        if (input.below(2) == 0) fs::create_symlink(input.below(2) == 0 ? ".." : "../secret", changed, fails);
    }

    void check() const {
        struct stat status {};
        for (const fs::path& path : {secret(), outside_}) {
            CHECK(::stat(path.c_str(), &status) == 0);
            CHECK(status.st_atim.tv_sec == never_read, "something outside has been read");
        }
        CHECK(::stat(secret().c_str(), &status) == 0 && status.st_nlink == 1);
        std::ifstream file{secret()};
        std::string bytes{std::istreambuf_iterator<char>{file}, {}};
        CHECK(bytes == "secret", "a file outside has changed");
        CHECK(std::distance(fs::directory_iterator{outside_}, {}) == 2, "something outside has come or gone");
    }

private:
    static constexpr time_t never_read = 86400;  // 1970

    fs::path shared() const { return outside_ / "shared"; }
    fs::path secret() const { return outside_ / "secret"; }

    fs::path outside_;
};

// Mostly of a known kind, on few nodes, handles and names, so that it comes to something. Numbers are those
// that requests have in most places: small ones. Names are strings with their zeros.
inline std::string folder_request(Input& input) {
    constexpr std::array<const char*, 12> names{"file", "dir",   "fifo", "out", "up",        "a",
                                                "b",    "inner", ".",    "..",  "../secret", ""};
    fuse_in_header header{};
    header.opcode = static_cast<std::uint32_t>(input.below(56));
    header.nodeid = input.below(10);
    std::string bytes{reinterpret_cast<const char*>(&header), sizeof header};
    for (std::uint64_t words = input.below(7); words > 0; --words) {
        std::uint64_t word = input.take<std::uint8_t>();
        if (word >= 0xf0) word = input.take<std::uint64_t>();
        bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    if (input.below(2) != 0) bytes.resize(bytes.size() + 4);
    for (std::uint64_t n = input.below(4); n > 0; --n) {
        bytes += names[input.below(names.size())];
        if (input.below(16) != 15) bytes += '\0';
    }
    return bytes;
}

}  // namespace undercroft::fuzz
