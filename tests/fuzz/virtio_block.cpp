// SPDX-License-Identifier: Apache-2.0
// A virtio block device under anything a guest can do (virtio_guest.hpp): it touches no byte outside its
// disk.
#include "virtio/block.hpp"
#include "virtio_guest.hpp"

#include <cstring>
#include <string>
#include <vector>

using namespace undercroft;

namespace {

constexpr std::uint64_t disk_size = 64 * 512;

class FuzzDisk final : public Disk {
public:
    const std::string& name() const override { return name_; }
    std::uint64_t size() const override { return disk_size; }
    bool is_read_only() const override { return read_only; }
    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override {
        return each(offset, to, [this](std::byte* host, std::uint64_t at, std::size_t n) {
            std::memcpy(host, bytes_.data() + at, n);
        });
    }
    DiskStatus write(std::uint64_t offset, std::span<const iovec> from) override {
        CHECK(!read_only, "a write to a read-only disk");
        return each(offset, from, [this](std::byte* host, std::uint64_t at, std::size_t n) {
            std::memcpy(bytes_.data() + at, host, n);
        });
    }
    DiskStatus flush() override { return DiskStatus::Ok; }
    DiskStatus discard(std::uint64_t offset, std::uint64_t length) override { return clear(offset, length); }
    DiskStatus write_zeroes(std::uint64_t offset, std::uint64_t length, bool) override {
        return clear(offset, length);
    }

    bool read_only = false;
    bool fails = false;

private:
    DiskStatus clear(std::uint64_t offset, std::uint64_t length) {
        CHECK(!read_only && offset <= disk_size && length <= disk_size - offset);
        std::memset(bytes_.data() + offset, 0, length);
        return DiskStatus::Ok;
    }
    template <class Copy>
    DiskStatus each(std::uint64_t offset, std::span<const iovec> pieces, Copy copy) {
        if (fails) return DiskStatus::Failed;
        for (const iovec& piece : pieces) {
            CHECK(offset <= disk_size && piece.iov_len <= disk_size - offset, "outside the disk");
            copy(static_cast<std::byte*>(piece.iov_base), offset, piece.iov_len);
            offset += piece.iov_len;
        }
        return DiskStatus::Ok;
    }

    std::string name_ = "fuzz";
    std::vector<std::byte> bytes_ = std::vector<std::byte>(disk_size);
};

class Guest final : public fuzz::VirtioGuest {
public:
    explicit Guest(fuzz::Input& input) : Guest{input.take<std::uint8_t>()} {}

private:
    explicit Guest(std::uint8_t choice)
        : block_{disk_, dma_, lock_, "fuzz", choice < 128 ? 1u : 3u /* queues */} {
        disk_.read_only = choice % 4 == 3;
        connect(block_);
    }

    void serve() override { block_.serve(); }
    void event(fuzz::Input& input) override { disk_.fails = input.below(2) != 0; }

    // A header, data and a status, of any type, sector and length.
    void request(fuzz::Input& input) override {
        constexpr std::uint64_t header = free_memory;
        put(header, std::uint32_t{input.take<std::uint8_t>() % 16u});
        put(header + 8, std::uint64_t{input.take<std::uint8_t>()} << input.below(2) * 55);
        auto flags = static_cast<std::uint16_t>(1 | input.below(2) * 2);
        std::uint64_t length = input.below(5) * 256 + input.below(2) * 16 + 1;
        std::uint64_t data = free_memory + 0x1000 + input.take<std::uint16_t>() % 0x8000u;
        offer(queue(input), {{header, 16, 1, 1},
                             {data, static_cast<std::uint32_t>(length - 1 + (length == 1)), flags, 2},
                             {free_memory + 0x800, 1, 2, 0}});
    }

    FuzzDisk disk_;
    VirtioBlock block_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::run_guest<Guest>(data, size);
}
