// SPDX-License-Identifier: Apache-2.0
// A driver for tests: guest memory, a split queue in it as a driver lays it out, and a device's registers.

#pragma once

#include "virtio/mmio.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

namespace undercroft::test {

// Descriptors' flags.
namespace flag {
inline constexpr std::uint16_t next = 1;
inline constexpr std::uint16_t write = 2;
inline constexpr std::uint16_t indirect = 4;
}  // namespace flag

struct Descriptor {
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    std::uint16_t flags = 0;
    std::uint16_t next = 0;
};

// 64 pages of RAM. The rings lie in the first three pages.
class TestMemory {
public:
    static constexpr std::uint64_t size = 64 * 4096;
    static constexpr std::uint64_t descriptors = 0x0000;
    static constexpr std::uint64_t available = 0x1000;
    static constexpr std::uint64_t used = 0x2000;

    explicit TestMemory(std::uint16_t queue_size = 8) : queue_size_{queue_size} {}

    const DmaMemory& device() const { return device_; }
    const GuestMemory& guest() const { return *memory_; }
    const std::vector<std::pair<std::uint64_t, std::uint64_t>>& written() const { return written_; }

    template <class T>
    void put(std::uint64_t address, const T& value) {
        EXPECT_TRUE(memory_->write(GuestPhysical{address}, std::as_bytes(std::span{&value, 1})));
    }
    template <class T>
    T get(std::uint64_t address) const {
        T value{};
        EXPECT_TRUE(memory_->read(GuestPhysical{address}, std::as_writable_bytes(std::span{&value, 1})));
        return value;
    }

    void describe(std::uint16_t index, const Descriptor& descriptor, std::uint64_t table = descriptors) {
        put(table + 16ull * index, descriptor);
    }
    // Puts the chain's pieces into descriptors from `head` on and makes it available.
    void offer(std::uint16_t head, std::initializer_list<Descriptor> chain);
    void make_available(std::uint16_t head);
    void set_available_index(std::uint16_t index) { put(available + 2, index); }
    std::uint16_t used_index() const { return get<std::uint16_t>(used + 2); }
    std::pair<std::uint32_t, std::uint32_t> used_element(unsigned at) const {  // head and length
        return {get<std::uint32_t>(used + 4 + 8 * at), get<std::uint32_t>(used + 8 + 8 * at)};
    }

private:
    std::uint16_t queue_size_;
    std::unique_ptr<GuestMemory> memory_ = std::move(*GuestMemory::create({{GuestPhysical{0}, size}}));
    std::vector<std::pair<std::uint64_t, std::uint64_t>> written_;
    DmaMemory device_{*memory_, [this](GuestPhysical address, std::uint64_t length) {
                          written_.emplace_back(address.value(), length);
                      }};
};

// Registers by name.
using Reg = MmioTransport::Register;
std::uint32_t read(MmioTransport& transport, Reg which);
void write(MmioTransport& transport, Reg which, std::uint32_t value);
// Through FEATURES_OK, the queue and DRIVER_OK, as Linux does it. `features` besides VERSION_1.
// `queue` is the one that lies in memory.
void start_driver(MmioTransport& transport, std::uint64_t features = 0, std::uint16_t queue_size = 8,
                  unsigned queue = 0);

}  // namespace undercroft::test
