// SPDX-License-Identifier: Apache-2.0
#include "base/unix_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace undercroft {
namespace {

constexpr int backlog = 16;

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
    if (!Address::fits(path)) return Error{"path too long for a socket"};
    Fd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return host_error();
    return fd;
}

}  // namespace

Result<Fd> connect_to_socket(const std::string& path) {
    auto fd = make_socket(path);
    if (!fd) return fd.error();
    if (connect(fd->get(), Address{path}.get(), sizeof(sockaddr_un)) != 0) return host_error();
    return fd;
}

Result<Fd> listen_at_socket(const std::string& path, mode_t mode) {
    auto fd = make_socket(path);
    if (!fd) return fd.error();
    // The mode of the file to come.
    if (fchmod(fd->get(), mode) != 0) return host_error();
    if (bind(fd->get(), Address{path}.get(), sizeof(sockaddr_un)) != 0) return host_error();
    if (listen(fd->get(), backlog) == 0) return fd;
    Error error = host_error();
    unlink(path.c_str());
    return error;
}

bool is_abandoned_socket(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
    auto fd = make_socket(path);
    return fd && connect(fd->get(), Address{path}.get(), sizeof(sockaddr_un)) != 0 && errno == ECONNREFUSED;
}

}  // namespace undercroft
