// SPDX-License-Identifier: Apache-2.0
// Named bit ranges of a hardware register.

#pragma once

#include <concepts>

namespace undercroft {

// Bits [High:Low] of an unsigned register, in the manual's notation.
template <unsigned High, unsigned Low = High>
struct Bits {
    static_assert(High >= Low && High < 64);

    template <std::unsigned_integral T>
    static constexpr T mask() {
        return static_cast<T>((~0ull >> (63 - (High - Low))) << Low);
    }

    template <std::unsigned_integral T>
    static constexpr T get(T reg) {
        return static_cast<T>((reg & mask<T>()) >> Low);
    }

    template <std::unsigned_integral T>
    static constexpr T set(T reg, T field) {
        return static_cast<T>((reg & ~mask<T>()) | ((field << Low) & mask<T>()));
    }
};

}  // namespace undercroft
