// SPDX-License-Identifier: Apache-2.0
// A set of interrupt vectors, as the local APIC keeps in ISR, TMR and IRR (Intel SDM vol. 3A section 11.8.4).

#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace undercroft {

class VectorSet {
public:
    void insert(std::uint8_t vector) { words_[vector / 64] |= bit(vector); }
    void erase(std::uint8_t vector) { words_[vector / 64] &= ~bit(vector); }
    bool contains(std::uint8_t vector) const { return (words_[vector / 64] & bit(vector)) != 0; }

    // The highest vector, which has the highest priority; -1 if the set is empty.
    int highest() const {
        for (unsigned i = 4; i-- > 0;) {
            if (words_[i] != 0) return static_cast<int>(i * 64 + 63) - std::countl_zero(words_[i]);
        }
        return -1;
    }

    // Vectors 32*index to 32*index+31, as the registers show them. `index` is below 8.
    std::uint32_t word(unsigned index) const {
        return static_cast<std::uint32_t>(words_[index / 2] >> (index % 2 * 32));
    }

private:
    static constexpr std::uint64_t bit(std::uint8_t vector) { return std::uint64_t{1} << vector % 64; }

    std::array<std::uint64_t, 4> words_{};
};

}  // namespace undercroft
