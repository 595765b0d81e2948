// SPDX-License-Identifier: Apache-2.0
// Fd: a file descriptor that closes itself. And reading a whole file with an error that names it.

#pragma once

#include "result.hpp"

#include <unistd.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace undercroft {

class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_{fd} {}
    Fd(Fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { reset(); }

    explicit operator bool() const { return fd_ >= 0; }
    int get() const { return fd_; }
    void reset() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

private:
    int fd_ = -1;
};

// The error of the last failed host call, e.g. "No such file or directory".
Error host_error();

// A file opened to be read as a whole. Errors as of read_file().
struct OpenFile {
    Fd fd;
    std::size_t size = 0;

    static Result<OpenFile> open(const std::string& path, std::size_t limit = std::size_t{4} << 30);
    // Into `bytes`, of `size`. Returns how many there were, which is less if the file has shrunk.
    Result<std::size_t> read(std::byte* bytes) const;
};

// The whole file, or "'path': reason". Refuses what is not a regular file and what is larger than `limit`.
Result<std::vector<std::byte>> read_file(const std::string& path, std::size_t limit = std::size_t{4} << 30);

}  // namespace undercroft
