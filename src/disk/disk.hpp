// SPDX-License-Identifier: Apache-2.0
// Disk: what a block device keeps its bytes in: raw files and host devices (raw_disk.hpp), qcow2 images
// (qcow2_disk.hpp). open_disk.hpp finds out which.
//
// Calls block, and come from one thread at a time, which is never a vCPU's. A failure is told in the log,
// once for each kind, and is the caller's to pass on: nothing is retried and nothing is silent.

#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace undercroft {

enum class DiskStatus : std::uint8_t {
    Ok,
    Failed,
    Unsupported,
    Full,  // no room on the host: the same request may succeed when there is some
};

class Disk {
public:
    static constexpr std::uint64_t sector_size = 512;

    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    virtual ~Disk() = default;

    virtual const std::string& name() const = 0;
    virtual std::uint64_t size() const = 0;  // bytes, a multiple of sector_size; constant
    virtual bool is_read_only() const = 0;

    // By which sizes requests are best made, in bytes, as Linux has them in /sys/block/*/queue; constant.
    struct Topology {
        std::uint32_t physical_block_size = sector_size;  // a power of two: less is read, changed and written
        std::uint32_t alignment_offset = 0;               // of the disk's first block in a physical one
        std::uint32_t minimum_io_size = 0;                // 0: nothing is known
        std::uint32_t optimal_io_size = 0;
    };
    virtual Topology topology() const { return {}; }

    // All bytes of the buffers, at [offset, offset + their sum), which lies within the disk; or Failed or
    // Full, and then any part may have been transferred.
    virtual DiskStatus read(std::uint64_t offset, std::span<const iovec> to) = 0;
    virtual DiskStatus write(std::uint64_t offset, std::span<const iovec> from) = 0;
    // This will be read soon, with other things: a host that has to fetch them can do so at once. A hint;
    // returns without waiting, unless for what a disk needs to know where its bytes are.
    virtual void will_read(std::uint64_t /*offset*/, std::uint64_t /*length*/) {}
    // When it returns Ok, what was written before survives the host's crash. After one that Failed to sync
    // there is none any more that does (Storage::sync()).
    virtual DiskStatus flush() = 0;
    // The range's contents are of no use any more. A hint.
    virtual DiskStatus discard(std::uint64_t offset, std::uint64_t length) = 0;
    // The range reads as zeros from now on. It keeps its space unless `may_unmap`.
    virtual DiskStatus write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) = 0;

    // Of 4 KiB from `offset` on, a multiple of that: which page of an image they are, if it is one that does
    // not change and that others read, too.
    struct Origin {
        std::uint64_t image = 0;
        std::uint64_t page = 0;
    };
    static constexpr std::uint64_t origin_size = 4096;
    virtual std::optional<Origin> origin(std::uint64_t /*offset*/) { return std::nullopt; }

    // Any thread. Whether requests may wait until the host has room for them; at first not. Those that wait
    // end when they may not any more.
    virtual void set_patient(bool) {}

protected:
    Disk() = default;
};

}  // namespace undercroft
