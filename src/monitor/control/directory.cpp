// SPDX-License-Identifier: Apache-2.0
#include "directory.hpp"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace undercroft::control {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view ending = ".sock";

std::string folder() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    if (runtime != nullptr && runtime[0] == '/') return std::string{runtime} + "/undercroft";
    return fmt::format("/tmp/undercroft-{}", getuid());
}

// Others could put sockets of theirs into a folder that is not ours alone.
Result<void> check_owner(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) return host_error().in(path);
    if (!S_ISDIR(status.st_mode)) return Error{path + ": not a folder"};
    if (status.st_uid != getuid() || (status.st_mode & 0077) != 0)
        return Error{path + ": not this user's alone"};
    return {};
}

struct Address {
    sockaddr_un value{};
    explicit Address(const std::string& path) {
        value.sun_family = AF_UNIX;
        std::memcpy(value.sun_path, path.data(), path.size());
    }
    static bool fits(const std::string& path) { return path.size() < sizeof value.sun_path; }
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&value); }
};

Result<Fd> make_socket(const std::string& path) {
    if (!Address::fits(path)) return Error{path + ": path too long for a socket"};
    Fd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return host_error().in(path);
    return fd;
}

bool is_socket(const std::string& path) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

}  // namespace

Result<std::string> own_socket() {
    std::string path = folder();
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return host_error().in(path);
    if (auto ours = check_owner(path); !ours) return ours.error();
    return fmt::format("{}/{}{}", path, getpid(), ending);
}

std::vector<std::string> all_sockets() {
    std::vector<std::string> found;
    if (!check_owner(folder())) return found;
    std::error_code failed;
    for (const fs::directory_entry& entry : fs::directory_iterator{folder(), failed}) {
        if (entry.path().extension() == ending) found.push_back(entry.path().string());
    }
    std::ranges::sort(found);
    return found;
}

// A backlog that is full is as good as nobody: EAGAIN, since we do not wait.
Result<Fd> connect_to(const std::string& path) {
    auto fd = make_socket(path);
    if (!fd) return fd.error();
    if (connect(fd->get(), Address{path}.get(), sizeof(sockaddr_un)) == 0) return fd;
    Error error = host_error().in(path);
    if (errno == ECONNREFUSED && path.starts_with(folder() + "/") && is_socket(path)) unlink(path.c_str());
    return error;
}

Result<Fd> listen_at(const std::string& path) {
    auto fd = make_socket(path);
    if (!fd) return fd.error();
    if (is_socket(path)) {
        Fd other{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        bool gone =
            connect(other.get(), Address{path}.get(), sizeof(sockaddr_un)) != 0 && errno == ECONNREFUSED;
        if (gone) unlink(path.c_str());
    }
    // The mode of the file to come.
    if (fchmod(fd->get(), 0600) != 0) return host_error().in(path);
    if (bind(fd->get(), Address{path}.get(), sizeof(sockaddr_un)) != 0) return host_error().in(path);
    if (listen(fd->get(), 16) == 0) return fd;
    Error error = host_error().in(path);
    unlink(path.c_str());
    return error;
}

}  // namespace undercroft::control
