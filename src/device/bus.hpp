// SPDX-License-Identifier: Apache-2.0
// Bus: which device answers at an address. A machine has two: one for ports, one for device memory.
//
// A device never knows where it lives: it sees offsets from the start of its range. An access that no device
// claims, or that does not lie wholly inside one range, reads all ones and ignores writes, as on a PC; it is
// counted, and reported once per address so that the machine can say where the guest was.
//
// Not thread-safe: the caller holds the lock of the machine's devices, during a device's callbacks too.

#pragma once

#include "x86/paging.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft {

// What a guest can reach through a bus. `size` is 1, 2, 4 or 8; any offset, size and value must be safe.
class Device {
public:
    virtual ~Device() = default;

    // The `size` bytes at `offset`. The caller ignores what the value holds above them.
    virtual std::uint64_t read(std::uint64_t offset, unsigned size) = 0;
    // Writes the low `size` bytes of `value`; the bytes above may hold anything.
    virtual void write(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;
};

// A device of 8-bit registers: a wider access becomes byte accesses in ascending order, as the ISA bus did.
class ByteDevice : public Device {
public:
    std::uint64_t read(std::uint64_t offset, unsigned size) final;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) final;

protected:
    virtual std::uint8_t read_byte(std::uint64_t offset) = 0;
    virtual void write_byte(std::uint64_t offset, std::uint8_t value) = 0;
};

class Bus {
public:
    using Report = std::function<void(std::uint64_t address, Access access)>;

    // `unclaimed` is called for the first unclaimed access to an address (for a bounded number of addresses).
    explicit Bus(Report unclaimed = {}) : unclaimed_{std::move(unclaimed)} {}

    // Gives [first, first + length) to `device`, which must outlive the bus. Ranges must not overlap (CHECK).
    void attach(std::uint64_t first, std::uint64_t length, std::string_view name, Device& device);

    // `size` is 1, 2, 4 or 8 (CHECK). The value is zero-extended from `size` bytes.
    std::uint64_t read(std::uint64_t address, unsigned size);
    void write(std::uint64_t address, unsigned size, std::uint64_t value);

    // The name of the device at `address`, or an empty view.
    std::string_view name_at(std::uint64_t address) const;
    std::uint64_t unclaimed_count() const { return unclaimed_count_; }

private:
    struct Range {
        std::uint64_t first;
        std::uint64_t last;  // inclusive, so that a range may end at the top of the address space
        std::string name;
        Device* device;

        bool holds(std::uint64_t address) const { return address >= first && address <= last; }
        bool holds(std::uint64_t address, unsigned size) const {
            return holds(address) && last - address >= size - 1;
        }
    };
    static constexpr std::size_t reported_limit = 256;

    const Range* find(std::uint64_t address) const;
    void note_unclaimed(std::uint64_t address, Access access);

    std::vector<Range> ranges_;         // ascending by address
    mutable std::size_t last_hit_ = 0;  // guests access one device many times in a row
    Report unclaimed_;
    std::uint64_t unclaimed_count_ = 0;
    std::vector<std::uint64_t> reported_;  // addresses that the machine has heard of; at most reported_limit
};

}  // namespace undercroft
