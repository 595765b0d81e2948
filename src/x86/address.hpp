// SPDX-License-Identifier: Apache-2.0
// Guest addresses as distinct types.
//
// A guest-physical, a guest-virtual and a host address are all 64-bit numbers, and
// mixing them up is the classic emulator bug. Each gets a type of its own; the only
// way across is a function whose name says which translation it performs.

#pragma once

#include <compare>
#include <cstdint>

namespace undercroft {

template <class Tag>
class Address {
public:
    constexpr Address() = default;
    constexpr explicit Address(std::uint64_t value) : value_{value} {}

    constexpr std::uint64_t value() const { return value_; }
    constexpr std::uint64_t page() const { return value_ >> 12; }
    constexpr std::uint64_t page_offset() const { return value_ & 0xfff; }

    constexpr Address operator+(std::uint64_t bytes) const { return Address{value_ + bytes}; }
    constexpr std::uint64_t operator-(Address other) const { return value_ - other.value_; }
    constexpr auto operator<=>(const Address&) const = default;  // NOLINT(modernize-use-nullptr)

private:
    std::uint64_t value_ = 0;
};

using GuestPhysical = Address<struct GuestPhysicalTag>;
using GuestVirtual = Address<struct GuestVirtualTag>;

// A 4 KiB frame of machine memory: an index into the pool that the monitor owns.
enum class MachineFrame : std::uint64_t {};

}  // namespace undercroft
