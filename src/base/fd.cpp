// SPDX-License-Identifier: Apache-2.0
#include "fd.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

namespace undercroft {

Error host_error() { return Error{std::generic_category().message(errno)}; }

Result<OpenFile> OpenFile::open(const std::string& path, std::size_t limit) {
    std::string name = "'" + path + "'";
    Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!fd) return host_error().in(name);
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return host_error().in(name);
    if (!S_ISREG(status.st_mode)) return Error{"not a regular file"}.in(name);
    if (static_cast<std::size_t>(status.st_size) > limit) return Error{"file too large"}.in(name);
    return OpenFile{std::move(fd), static_cast<std::size_t>(status.st_size)};
}

Result<std::size_t> OpenFile::read(std::byte* bytes) const {
    std::size_t done = 0;
    while (done < size) {
        ssize_t n = ::read(fd.get(), bytes + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return host_error();
        if (n == 0) break;
        done += static_cast<std::size_t>(n);
    }
    return done;
}

Result<std::vector<std::byte>> read_file(const std::string& path, std::size_t limit) {
    auto file = OpenFile::open(path, limit);
    if (!file) return file.error();
    std::vector<std::byte> bytes(file->size);
    auto done = file->read(bytes.data());
    if (!done) return std::move(done.error()).in("'" + path + "'");
    bytes.resize(*done);
    return bytes;
}

}  // namespace undercroft
