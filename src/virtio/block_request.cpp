// SPDX-License-Identifier: Apache-2.0
#include "virtio/block_request.hpp"

#include "base/check.hpp"
#include "virtio/image_read.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace undercroft {
namespace {

enum class Type : std::uint32_t { In = 0, Out = 1, Flush = 4, GetId = 8, Discard = 11, WriteZeroes = 13 };
enum class Status : std::uint8_t { OK = 0, IOERR = 1, UNSUPP = 2 };

struct Header {
    Type type;
    std::uint32_t reserved;
    std::uint64_t sector;
};
static_assert(sizeof(Header) == 16);

struct RangeHeader {  // struct virtio_blk_discard_write_zeroes
    std::uint64_t sector;
    std::uint32_t sectors;
    std::uint32_t flags;
};
static_assert(sizeof(RangeHeader) == 16);
constexpr std::uint32_t unmap = 1;  // of its flags; the others are reserved
constexpr std::size_t id_length = 20;

Status status_of(DiskStatus status) {
    switch (status) {
        case DiskStatus::Ok: return Status::OK;
        case DiskStatus::Failed:
        case DiskStatus::Full: return Status::IOERR;
        case DiskStatus::Unsupported: return Status::UNSUPP;
    }
    return Status::IOERR;
}

template <class T>
bool take(Buffers& from, T& value) {
    return from.take_front(std::as_writable_bytes(std::span{&value, 1})) == sizeof value;
}

// Whole sectors that the disk has?
bool fits(const Disk& disk, std::uint64_t sector, std::uint64_t bytes) {
    std::uint64_t sectors = disk.size() / Disk::sector_size;
    return bytes % Disk::sector_size == 0 && sector <= sectors &&
           bytes / Disk::sector_size <= sectors - sector;
}

class Request {
public:
    Request(const BlockContext& context, const Header& header, Chain& chain)
        : context_{context}, disk_{context.disk}, header_{header}, chain_{chain} {}

    Status serve() {
        switch (header_.type) {
            case Type::In: return read();
            case Type::Out: return write();
            case Type::Flush: return status_of(disk_.flush());
            case Type::GetId: return get_id();
            case Type::Discard:
            case Type::WriteZeroes: return disk_.is_read_only() ? Status::IOERR : clear();
        }
        return Status::UNSUPP;
    }
    std::uint64_t written() const { return written_; }

private:
    std::uint64_t offset() const { return header_.sector * Disk::sector_size; }

    Status read() {
        std::uint64_t size = 0;
        for (const Chain::Range& range : chain_.writable_ranges) size += range.length;
        if (!fits(disk_, header_.sector, size)) return Status::IOERR;
        DiskStatus status =
            read_sharing_pages(disk_, context_.memory, offset(), chain_.writable_ranges, chain_.writable);
        if (status == DiskStatus::Ok) written_ = size;
        return status_of(status);
    }

    Status write() {
        if (disk_.is_read_only() || !fits(disk_, header_.sector, chain_.readable.size()))
            return Status::IOERR;
        return durable(disk_.write(offset(), chain_.readable.pieces()));
    }

    Status durable(DiskStatus status) {
        if (status == DiskStatus::Ok && context_.write_through) status = disk_.flush();
        return status_of(status);
    }

    // Not terminated if it fills its room.
    Status get_id() {
        std::array<char, id_length> id{};
        std::copy_n(context_.serial.begin(), std::min(context_.serial.size(), id.size()), id.begin());
        for (const Chain::Range& range : chain_.writable_ranges)
            CHECK(context_.memory.find(range.address, range.length, Access::Write, chain_.writable), "RAM");
        written_ = chain_.writable.fill_front(std::as_bytes(std::span{id}));
        return Status::OK;
    }

    // Discard and write-zeroes, of one range: the configuration says that there may be no more.
    Status clear() {
        RangeHeader range{};
        bool zeroes = header_.type == Type::WriteZeroes;
        if (!take(chain_.readable, range) || !chain_.readable.empty()) return Status::IOERR;
        if ((range.flags & ~(zeroes ? unmap : 0)) != 0) return Status::UNSUPP;
        std::uint32_t most = zeroes ? BlockContext::most_zero_sectors : BlockContext::most_discard_sectors;
        std::uint64_t bytes = range.sectors * Disk::sector_size;
        if (range.sectors > most || !fits(disk_, range.sector, bytes)) return Status::IOERR;
        if (range.sectors == 0) return Status::OK;
        std::uint64_t at = range.sector * Disk::sector_size;
        if (!zeroes) return status_of(disk_.discard(at, bytes));
        return durable(disk_.write_zeroes(at, bytes, (range.flags & unmap) != 0));
    }

    const BlockContext& context_;
    Disk& disk_;
    const Header& header_;
    Chain& chain_;
    std::uint64_t written_ = 0;
};

}  // namespace

std::uint32_t serve_block_request(const BlockContext& context, Chain& chain) {
    Header header{};
    if (!take(chain.readable, header) || chain.writable_ranges.empty()) return 0;
    // The status is the last byte.
    Chain::Range& last = chain.writable_ranges.back();
    GuestPhysical status = last.address + (--last.length);
    if (last.length == 0) chain.writable_ranges.pop_back();
    Request request{context, header, chain};
    auto answer = static_cast<std::uint8_t>(request.serve());
    CHECK(context.memory.store(status, answer), "RAM");
    // A chain has at most 4 GiB - 1 bytes.
    return static_cast<std::uint32_t>(request.written() + 1);
}

void announce_block_request(const BlockContext& context, const Chain& chain) {
    std::span<const iovec> pieces = chain.readable.pieces();
    Header header{};
    if (pieces.empty() || pieces.front().iov_len < sizeof header) return;
    std::memcpy(&header, pieces.front().iov_base, sizeof header);
    std::uint64_t size = 0;
    for (const Chain::Range& range : chain.writable_ranges) size += range.length;
    if (header.type != Type::In || size == 0 || !fits(context.disk, header.sector, size - 1)) return;
    context.disk.will_read(header.sector * Disk::sector_size, size - 1);  // and the status
}

}  // namespace undercroft
