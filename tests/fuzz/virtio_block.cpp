// SPDX-License-Identifier: Apache-2.0
// A virtio block device under any register accesses and any contents of its rings, tables and requests: it
// touches no byte outside guest memory (AddressSanitizer watches) nor outside its disk, tells of all it
// writes, and is broken or alive as DEVICE_NEEDS_RESET says.
//
// Input: a sequence of operations, each a byte and its operands. One of them starts the driver properly, or a
// fuzzer would hardly get that far.
#include "input.hpp"
#include "virtio/block.hpp"
#include "virtio/mmio.hpp"

#include "base/log.hpp"

#include <array>
#include <memory>
#include <vector>

using namespace undercroft;

namespace {

constexpr std::uint64_t memory_size = 16 * 4096;
constexpr std::uint64_t disk_size = 64 * 512;
constexpr std::uint64_t descriptors = 0x0000;
constexpr std::uint64_t available = 0x1000;
constexpr std::uint64_t used = 0x2000;

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

class Guest {
public:
    void run(fuzz::Input& input) {
        disk_.read_only = input.below(4) == 3;
        while (!input.empty()) {
            step(input);
            block_.serve();
            check();
        }
    }

private:
    using Register = MmioTransport::Register;
    using Status = MmioTransport::Status;

    void step(fuzz::Input& input) {
        switch (input.below(9)) {
            case 0: transport_.read(input.take<std::uint16_t>() % MmioTransport::length, size(input)); break;
            case 1: {
                std::uint64_t offset = input.take<std::uint16_t>() % MmioTransport::length;
                unsigned bytes = size(input);
                transport_.write(offset, bytes, input.take<std::uint64_t>());
                break;
            }
            case 2: set(Register{input.below(0x40) * 4}, input.take<std::uint32_t>()); break;
            case 3: start(input); break;
            case 4: describe(input, input.take<std::uint8_t>() % 0x300 * 16ull); break;
            case 5: scribble(input); break;
            case 6: make_available(input.take<std::uint8_t>() % 9u); break;
            case 7: request(input); break;
            default: disk_.fails = input.below(2) != 0; break;
        }
    }

    static unsigned size(fuzz::Input& input) { return 1u << input.below(4); }
    void set(Register which, std::uint32_t value) {
        transport_.write(static_cast<std::uint64_t>(which), 4, value);
    }
    std::uint32_t get(Register which) {
        return static_cast<std::uint32_t>(transport_.read(static_cast<std::uint64_t>(which), 4));
    }
    template <class T>
    void put(std::uint64_t address, const T& value) {
        static_cast<void>(memory_->write(GuestPhysical{address}, std::as_bytes(std::span{&value, 1})));
    }

    // With any of the features; the queue of 8 in its usual place.
    void start(fuzz::Input& input) {
        set(Register::Status, 0);
        CHECK(get(Register::Status) == 0 && !line_, "a reset leaves nothing");
        put(available, std::uint32_t{0});
        put(used, std::uint32_t{0});
        set(Register::Status, Status::ACKNOWLEDGE | Status::DRIVER);
        set(Register::DeviceFeaturesSel, 0);
        set(Register::DriverFeaturesSel, 0);
        set(Register::DriverFeatures, get(Register::DeviceFeatures) & input.take<std::uint32_t>());
        set(Register::DriverFeaturesSel, 1);
        set(Register::DriverFeatures, 1);
        set(Register::Status, Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK);
        set(Register::QueueSel, 0);
        set(Register::QueueNum, 8);
        set(Register::QueueDescLow, descriptors);
        set(Register::QueueDriverLow, available);
        set(Register::QueueDeviceLow, used);
        set(Register::QueueReady, 1);
        set(Register::Status, get(Register::Status) | Status::DRIVER_OK);
        CHECK((get(Register::Status) & Status::DRIVER_OK) != 0);
    }

    // A descriptor at `address`: small numbers, mostly sensible ones.
    void describe(fuzz::Input& input, std::uint64_t address) {
        put(address, std::uint64_t{input.take<std::uint16_t>()} << input.below(2) * 48);
        put(address + 8, std::uint32_t{input.take<std::uint16_t>()} << input.below(2) * 16);
        put(address + 12, static_cast<std::uint16_t>(input.below(9)));
        put(address + 14, static_cast<std::uint16_t>(input.below(10)));
    }

    void scribble(fuzz::Input& input) {
        std::uint64_t address = input.take<std::uint16_t>() % memory_size;
        auto bytes = input.take_bytes(1 + input.below(32));
        static_cast<void>(memory_->write(GuestPhysical{address}, bytes));
    }

    void make_available(std::uint64_t head) {
        std::uint16_t index = 0;
        static_cast<void>(
            memory_->read(GuestPhysical{available + 2}, std::as_writable_bytes(std::span{&index, 1})));
        put(available + 4 + index % 8 * 2, static_cast<std::uint16_t>(head));
        put(available + 2, static_cast<std::uint16_t>(index + 1));
        set(Register::QueueNotify, 0);
    }

    // A header, data and a status, of any type, sector and length.
    void request(fuzz::Input& input) {
        constexpr std::uint64_t header = 0x3000;
        put(header, std::uint32_t{input.take<std::uint8_t>() % 16u});
        put(header + 8, std::uint64_t{input.take<std::uint8_t>()} << input.below(2) * 55);
        auto flags = static_cast<std::uint16_t>(1 | input.below(2) * 2);
        std::uint64_t length = input.below(5) * 256 + input.below(2) * 16 + 1;
        struct Descriptor {
            std::uint64_t address;
            std::uint32_t length;
            std::uint16_t flags;
            std::uint16_t next;
        };
        put(descriptors, Descriptor{header, 16, 1, 1});
        put(descriptors + 16, Descriptor{0x4000 + input.take<std::uint16_t>() % 0x8000u,
                                         static_cast<std::uint32_t>(length - 1 + (length == 1)), flags, 2});
        put(descriptors + 32, Descriptor{0x3800, 1, 2, 0});
        make_available(0);
    }

    void check() {
        std::uint32_t interrupt = get(Register::InterruptStatus);
        CHECK(line_ == (interrupt != 0), "the line is not what InterruptStatus says");
        CHECK((interrupt & ~3u) == 0);
        std::uint32_t status = get(Register::Status);
        CHECK((status & ~(Status::writable | Status::DEVICE_NEEDS_RESET)) == 0);
        for (auto [address, length] : written_)
            CHECK(address < memory_size && length <= memory_size - address, "told of what is no memory");
        written_.clear();
    }

    std::unique_ptr<GuestMemory> memory_ = std::move(*GuestMemory::create({{GuestPhysical{0}, memory_size}}));
    std::vector<std::pair<std::uint64_t, std::uint64_t>> written_;
    DmaMemory dma_{*memory_, [this](GuestPhysical address, std::uint64_t length) {
                       written_.emplace_back(address.value(), length);
                   }};
    FuzzDisk disk_;
    std::mutex lock_;
    bool line_ = false;
    VirtioBlock block_{disk_, dma_, lock_, "fuzz"};
    MmioTransport transport_{block_, dma_, [this](bool level) { line_ = level; }, "fuzz"};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    set_log_level(LogLevel::Error);
    fuzz::Input input{data, size};
    Guest{}.run(input);
    return 0;
}
