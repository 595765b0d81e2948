// SPDX-License-Identifier: Apache-2.0
// DirectoryReader: the entries of an open directory from any place on. Places are the host's own, which stay
// what they are while entries come and go.

#pragma once

#include "base/fd.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace undercroft {

class DirectoryReader {
public:
    struct Entry {
        std::uint64_t inode = 0;
        std::int64_t next = 0;   // the place of what follows
        unsigned char type = 0;  // DT_REG …
        std::string_view name;   // until the next call
    };

    explicit DirectoryReader(Fd fd) : fd_{std::move(fd)} {}

    int fd() const { return fd_.get(); }
    // 0, or an error's negative number.
    int seek(std::int64_t place);
    // The entry at the place: 1, 0 at the end, or an error's negative number. It stays there until accept().
    int peek(Entry& entry);
    void accept(const Entry& entry);

private:
    Fd fd_;
    std::int64_t place_ = 0;
    std::size_t used_ = 0;  // of `bytes_`
    std::size_t filled_ = 0;
    alignas(8) std::array<std::byte, 32 * 1024> bytes_;
};

}  // namespace undercroft
