// SPDX-License-Identifier: Apache-2.0
// A guest that does anything to a virtio device: register accesses, any contents of rings, tables and memory.
//
// Input: a sequence of operations, each a byte and its operands. One of them starts the driver properly, or a
// fuzzer would hardly get that far. After each, the device serves, and what always holds is checked: it
// touches nothing outside guest memory (AddressSanitizer watches), tells of all that it writes, and its
// interrupt is what its registers say.

#pragma once

#include "input.hpp"
#include "virtio/mmio.hpp"

#include "base/check.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace undercroft::fuzz {

class VirtioGuest {
public:
    void run(Input& input) {
        while (!input.empty()) {
            step(input);
            serve();
            check();
        }
    }

protected:
    using Register = MmioTransport::Register;
    using Status = MmioTransport::Status;

    static constexpr std::uint64_t memory_size = 16 * 4096;
    static constexpr std::uint64_t free_memory = 0x3000;  // behind the rings
    struct Descriptor {
        std::uint64_t address;
        std::uint32_t length;
        std::uint16_t flags;
        std::uint16_t next;
    };
    // Where the rings of a queue are; each has 8 entries. There is room for 8 queues.
    std::uint64_t queue_distance() const { return queues_ <= 4 ? 0x400 : 0x200; }
    std::uint64_t descriptors(unsigned queue) const { return queue * queue_distance(); }
    std::uint64_t available(unsigned queue) const { return 0x1000 + queue * queue_distance(); }
    std::uint64_t used(unsigned queue) const { return 0x2000 + queue * queue_distance(); }

    VirtioGuest() = default;
    ~VirtioGuest() = default;
    void connect(VirtioDevice& device) {
        queues_ = device.queue_count();
        transport_.emplace(
            device, dma_, [this](bool level) { line_ = level; }, "fuzz");
    }

    // The device's thread.
    virtual void serve() = 0;
    // A request of a sensible form, with contents by the input.
    virtual void request(Input& input) = 0;
    // What else can happen.
    virtual void event(Input& input) = 0;

    template <class T>
    void put(std::uint64_t address, const T& value) {
        static_cast<void>(memory_->write(GuestPhysical{address}, std::as_bytes(std::span{&value, 1})));
    }
    void offer(unsigned queue, std::initializer_list<Descriptor> chain) {
        std::uint64_t at = descriptors(queue);
        for (const Descriptor& each : chain) {
            put(at, each);
            at += sizeof each;
        }
        make_available(queue, 0);
    }
    void make_available(unsigned queue, std::uint64_t head) {
        std::uint16_t index = 0;
        std::uint64_t ring = available(queue);
        static_cast<void>(
            memory_->read(GuestPhysical{ring + 2}, std::as_writable_bytes(std::span{&index, 1})));
        put(ring + 4 + index % 8 * 2, static_cast<std::uint16_t>(head));
        put(ring + 2, static_cast<std::uint16_t>(index + 1));
        set(Register::QueueNotify, queue);
    }
    // Which queue: a choice only if there is one.
    unsigned queue(Input& input) { return queues_ > 1 ? static_cast<unsigned>(input.below(queues_)) : 0; }

    std::unique_ptr<GuestMemory> memory_ = std::move(*GuestMemory::create({{GuestPhysical{0}, memory_size}}));
    std::vector<std::pair<std::uint64_t, std::uint64_t>> written_;
    DmaMemory dma_{*memory_, [this](GuestPhysical address, std::uint64_t length) {
                       written_.emplace_back(address.value(), length);
                   }};
    std::mutex lock_;

private:
    void step(Input& input) {
        switch (input.below(9)) {
            case 0: transport_->read(input.take<std::uint16_t>() % MmioTransport::length, size(input)); break;
            case 1: {
                std::uint64_t offset = input.take<std::uint16_t>() % MmioTransport::length;
                unsigned bytes = size(input);
                transport_->write(offset, bytes, input.take<std::uint64_t>());
                break;
            }
            case 2: set(Register{input.below(0x40) * 4}, input.take<std::uint32_t>()); break;
            case 3: start(input); break;
            case 4: describe(input, input.take<std::uint8_t>() * 16ull); break;
            case 5: scribble(input); break;
            case 6: {
                unsigned which = queue(input);
                make_available(which, input.take<std::uint8_t>() % 9u);
                break;
            }
            case 7: request(input); break;
            default: event(input); break;
        }
    }

    static unsigned size(Input& input) { return 1u << input.below(4); }
    void set(Register which, std::uint32_t value) {
        transport_->write(static_cast<std::uint64_t>(which), 4, value);
    }
    std::uint32_t get(Register which) {
        return static_cast<std::uint32_t>(transport_->read(static_cast<std::uint64_t>(which), 4));
    }

    // With any of the features; all queues in their usual places.
    void start(Input& input) {
        set(Register::Status, 0);
        CHECK(get(Register::Status) == 0 && !line_, "a reset leaves nothing");
        set(Register::Status, Status::ACKNOWLEDGE | Status::DRIVER);
        set(Register::DeviceFeaturesSel, 0);
        set(Register::DriverFeaturesSel, 0);
        set(Register::DriverFeatures, get(Register::DeviceFeatures) & input.take<std::uint32_t>());
        set(Register::DriverFeaturesSel, 1);
        set(Register::DriverFeatures, 1);
        set(Register::Status, Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK);
        for (unsigned n = 0; n < queues_; ++n) {
            put(available(n), std::uint32_t{0});
            put(used(n), std::uint32_t{0});
            set(Register::QueueSel, n);
            set(Register::QueueNum, 8);
            set(Register::QueueDescLow, static_cast<std::uint32_t>(descriptors(n)));
            set(Register::QueueDriverLow, static_cast<std::uint32_t>(available(n)));
            set(Register::QueueDeviceLow, static_cast<std::uint32_t>(used(n)));
            set(Register::QueueReady, 1);
        }
        set(Register::Status, get(Register::Status) | Status::DRIVER_OK);
        CHECK((get(Register::Status) & Status::DRIVER_OK) != 0);
    }

    // A descriptor at `address`: small numbers, mostly sensible ones.
    void describe(Input& input, std::uint64_t address) {
        put(address, std::uint64_t{input.take<std::uint16_t>()} << input.below(2) * 48);
        put(address + 8, std::uint32_t{input.take<std::uint16_t>()} << input.below(2) * 16);
        put(address + 12, static_cast<std::uint16_t>(input.below(9)));
        put(address + 14, static_cast<std::uint16_t>(input.below(10)));
    }

    void scribble(Input& input) {
        std::uint64_t address = input.take<std::uint16_t>() % memory_size;
        auto bytes = input.take_bytes(1 + input.below(32));
        static_cast<void>(memory_->write(GuestPhysical{address}, bytes));
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

    bool line_ = false;
    unsigned queues_ = 0;
    std::optional<MmioTransport> transport_;
};

// A target's whole work.
template <class Guest>
int run_guest(const std::uint8_t* data, std::size_t size) {
    set_log_level(LogLevel::Error);
    Input input{data, size};
    if constexpr (std::is_constructible_v<Guest, Input&>)
        Guest{input}.run(input);
    else
        Guest{}.run(input);
    return 0;
}

}  // namespace undercroft::fuzz
