// SPDX-License-Identifier: Apache-2.0
// A copy between guest memory and the monitor that uses general registers only.
//
// The library's memcpy uses vector registers, where the guest's state lives while a helper of translated code
// runs. An operand of 1, 2, 4 or 8 bytes moves in one access, as a processor does it: other vCPUs see all or
// nothing.

#pragma once

#include <cstddef>
#include <cstdint>

namespace undercroft {

template <class T>
inline void copy_one(std::byte* to, const std::byte* from) noexcept {
    T value;
    __builtin_memcpy(&value, from, sizeof(T));
    __builtin_memcpy(to, &value, sizeof(T));
}

// Disjoint ranges.
inline void copy_bytes(void* to, const void* from, std::uint64_t size) noexcept {
    auto* out = static_cast<std::byte*>(to);
    const auto* in = static_cast<const std::byte*>(from);
    switch (size) {
        case 1: return copy_one<std::uint8_t>(out, in);
        case 2: return copy_one<std::uint16_t>(out, in);
        case 4: return copy_one<std::uint32_t>(out, in);
        case 8: return copy_one<std::uint64_t>(out, in);
        default: break;
    }
    if (size < 8) {
        for (; size != 0; size--, in++, out++) copy_one<std::uint8_t>(out, in);
        return;
    }
    for (; size > 8; size -= 8, in += 8, out += 8) copy_one<std::uint64_t>(out, in);
    copy_one<std::uint64_t>(out + size - 8, in + size - 8);  // may overlap the one before
}

}  // namespace undercroft
