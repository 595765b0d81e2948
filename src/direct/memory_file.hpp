// SPDX-License-Identifier: Apache-2.0
// MemoryFile: a file without a name that the monitor writes by a mapping, and hands to another process.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

#include <cstddef>
#include <utility>

namespace undercroft {

class MemoryFile {
public:
    static Result<MemoryFile> create(const char* name, std::size_t size);
    MemoryFile(MemoryFile&& other) noexcept
        : file_{std::move(other.file_)}, data_{std::exchange(other.data_, nullptr)}, size_{other.size_} {}
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    ~MemoryFile();

    int file() const { return file_.get(); }
    std::byte* data() const { return data_; }

private:
    MemoryFile(Fd file, std::byte* data, std::size_t size)
        : file_{std::move(file)}, data_{data}, size_{size} {}

    Fd file_;
    std::byte* data_;
    std::size_t size_;
};

}  // namespace undercroft
