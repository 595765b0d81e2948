// SPDX-License-Identifier: Apache-2.0
#include "directory.hpp"

#include "base/unix_socket.hpp"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

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

Result<Fd> connect_to(const std::string& path) {
    auto fd = connect_to_socket(path);
    if (!fd && path.starts_with(folder() + "/") && is_abandoned_socket(path)) unlink(path.c_str());
    if (!fd) return std::move(fd.error()).in(path);
    return fd;
}

Result<Fd> listen_at(const std::string& path) {
    if (is_abandoned_socket(path)) unlink(path.c_str());
    auto fd = listen_at_socket(path, 0600);
    if (!fd) return std::move(fd.error()).in(path);
    return fd;
}

}  // namespace undercroft::control
