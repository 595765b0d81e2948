// SPDX-License-Identifier: Apache-2.0
#include "bus.hpp"

#include "base/check.hpp"

#include <algorithm>

namespace undercroft {
namespace {

constexpr std::uint64_t ones(unsigned size) { return ~std::uint64_t{0} >> (64 - 8 * size); }

constexpr bool is_access_size(unsigned size) { return size == 1 || size == 2 || size == 4 || size == 8; }

}  // namespace

std::uint64_t ByteDevice::read(std::uint64_t offset, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= std::uint64_t{read_byte(offset + i)} << (8 * i);
    return value;
}

void ByteDevice::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    for (unsigned i = 0; i < size; ++i) write_byte(offset + i, static_cast<std::uint8_t>(value >> (8 * i)));
}

void Bus::attach(std::uint64_t first, std::uint64_t length, std::string_view name, Device& device) {
    CHECK(length > 0 && first + (length - 1) >= first, "a device's range is empty or wraps around");
    Range range{.first = first, .last = first + (length - 1), .name = std::string{name}, .device = &device};
    auto after = std::upper_bound(ranges_.begin(), ranges_.end(), first,
                                  [](std::uint64_t address, const Range& r) { return address < r.first; });
    CHECK(after == ranges_.end() || range.last < after->first, "two devices claim one address");
    CHECK(after == ranges_.begin() || std::prev(after)->last < first, "two devices claim one address");
    ranges_.insert(after, std::move(range));
    last_hit_ = 0;
}

const Bus::Range* Bus::find(std::uint64_t address) const {
    if (last_hit_ < ranges_.size() && ranges_[last_hit_].holds(address)) return &ranges_[last_hit_];
    auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                  [](std::uint64_t a, const Range& r) { return a < r.first; });
    if (after == ranges_.begin() || !std::prev(after)->holds(address)) return nullptr;
    last_hit_ = static_cast<std::size_t>(std::prev(after) - ranges_.begin());
    return &ranges_[last_hit_];
}

std::uint64_t Bus::read(std::uint64_t address, unsigned size) {
    CHECK(is_access_size(size));
    const Range* range = find(address);
    if (range != nullptr && range->holds(address, size)) {
        return range->device->read(address - range->first, size) & ones(size);
    }
    note_unclaimed(address, Access::Read);
    return ones(size);
}

void Bus::write(std::uint64_t address, unsigned size, std::uint64_t value) {
    CHECK(is_access_size(size));
    const Range* range = find(address);
    if (range != nullptr && range->holds(address, size)) {
        range->device->write(address - range->first, size, value & ones(size));
        return;
    }
    note_unclaimed(address, Access::Write);
}

std::string_view Bus::name_at(std::uint64_t address) const {
    const Range* range = find(address);
    return range != nullptr ? std::string_view{range->name} : std::string_view{};
}

void Bus::note_unclaimed(std::uint64_t address, Access access) {
    ++unclaimed_count_;
    if (!unclaimed_ || reported_.size() >= reported_limit) return;
    if (std::find(reported_.begin(), reported_.end(), address) != reported_.end()) return;
    reported_.push_back(address);
    unclaimed_(address, access);
}

}  // namespace undercroft
