// SPDX-License-Identifier: Apache-2.0
// FileWindow: a part of a file in our address space, through which large requests are copied without asking
// the host. (Its own copy looks up each page in the file's page cache, which takes longer than to copy it.)
//
// Only what the host has in memory is copied so. All else is better asked for: the host then reads ahead,
// gives errors, and makes no page of a hole. (An access to a mapped tmpfs file would.)
//
// Writes go this way to tmpfs files only, whose pages stay as they are once they are there. In other file
// systems a page that was written back would have to be opened for writes again, one by one, and might need
// room on a disk that has none.

#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace undercroft {

// Not thread-safe.
class FileWindow {
public:
    static constexpr std::uint64_t size = std::uint64_t{1} << 30;  // 2 MiB of the host's page tables
    // Below, to ask the host costs less than to find out what is in memory.
    static constexpr std::uint64_t smallest_request = 65536;

    // Of a file that stays open as long as there is the window. Of one that cannot be mapped there is none.
    explicit FileWindow(int fd) : fd_{fd} {}
    FileWindow(const FileWindow&) = delete;
    FileWindow& operator=(const FileWindow&) = delete;
    ~FileWindow();

    // Whether all bytes of the buffers were copied, which are at [offset, offset + their sum) of the file. If
    // not, any part may have been, and the host is to be asked for all of it.
    [[nodiscard]] bool read(std::uint64_t offset, std::span<const iovec> to);
    [[nodiscard]] bool write(std::uint64_t offset, std::span<const iovec> from);

private:
    // Where this is in our address space, all of it in the host's memory, or null.
    std::byte* find(std::uint64_t offset, std::uint64_t length);
    // Is the window there, perhaps now?
    bool shows(std::uint64_t offset, std::uint64_t length);
    bool move_to(std::uint64_t number);
    bool is_in_memory(std::uint64_t at, std::uint64_t length);
    bool file_ends_before(std::uint64_t end) const;

    int fd_;
    std::byte* data_ = nullptr;
    std::optional<std::uint64_t> number_;  // where it is, in windows
    std::optional<std::uint64_t> wanted_;  // where the last request was that it did not show
    bool is_writable_ = false;
    bool is_unusable_ = false;
    std::vector<unsigned char> in_memory_;
};

}  // namespace undercroft
