// SPDX-License-Identifier: Apache-2.0
// Storage: the bytes of a disk image, wherever they lie. Grows by writing behind its end.
//
// Calls block, and come from one thread at a time. A failure is told in the log, once for each kind.

#pragma once

#include "disk/disk.hpp"

#include <cstddef>
#include <optional>

namespace undercroft {

class Storage {
public:
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;
    virtual ~Storage() = default;

    virtual const std::string& name() const = 0;  // as messages call it
    virtual std::uint64_t size() const = 0;       // bytes
    virtual Disk::Topology topology() const { return {}; }

    // All bytes of the buffers, or another status than Ok, and then any part may have been transferred. What
    // lies behind the end cannot be read.
    virtual DiskStatus read(std::uint64_t offset, std::span<const iovec> to) = 0;
    virtual DiskStatus write(std::uint64_t offset, std::span<const iovec> from) = 0;
    virtual void will_read(std::uint64_t /*offset*/, std::uint64_t /*length*/) {}  // see Disk
    // When it returns Ok, what was written before survives the host's crash; else it fails, and from then on
    // always: what was not written then may be lost, and a host says so only once (see storage.cpp).
    DiskStatus sync();
    // The range reads as zeros from now on, and takes no space any more (`punch`) or keeps it (`zero`).
    // Unsupported: nothing has changed. The size stays.
    virtual DiskStatus punch(std::uint64_t offset, std::uint64_t length) = 0;
    virtual DiskStatus zero(std::uint64_t offset, std::uint64_t length) = 0;

    // Of a file that is only read, see Disk::origin().
    virtual std::optional<Disk::Origin> origin(std::uint64_t /*offset*/) const { return std::nullopt; }

    // One buffer.
    DiskStatus read_bytes(std::uint64_t offset, std::span<std::byte> to) {
        iovec buffer{to.data(), to.size()};
        return read(offset, {&buffer, 1});
    }
    DiskStatus write_bytes(std::uint64_t offset, std::span<const std::byte> from) {
        iovec buffer{const_cast<std::byte*>(from.data()), from.size()};
        return write(offset, {&buffer, 1});
    }

protected:
    Storage() = default;

private:
    // Asks the host for it, and says in the log why it fails.
    virtual DiskStatus try_sync() = 0;

    bool is_inconsistent_ = false;  // a sync has failed
};

// Zeros, written as such.
DiskStatus write_zero_bytes(Storage& storage, std::uint64_t offset, std::uint64_t length);

}  // namespace undercroft
