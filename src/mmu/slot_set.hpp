// SPDX-License-Identifier: Apache-2.0
// A set of slot numbers below 4096. Going through it takes as long as there are members, not as there are
// slots.
//
// Inlined everywhere: used by helpers of translated code, where a weak definition could be another object's.

#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace undercroft {

class SlotSet {
public:
    static constexpr unsigned size = 4096;

    void insert(unsigned slot) noexcept {
        words_[slot / 64] |= 1ull << slot % 64;
        used_ |= 1ull << slot / 64;
    }
    void erase(unsigned slot) noexcept { words_[slot / 64] &= ~(1ull << slot % 64); }
    template <class Action>
    [[gnu::always_inline]] void for_each(Action action) const noexcept {
        for (std::uint64_t used = used_; used != 0; used &= used - 1) {
            auto word = static_cast<unsigned>(std::countr_zero(used));
            for (std::uint64_t bits = words_[word]; bits != 0; bits &= bits - 1)
                action(word * 64 + static_cast<unsigned>(std::countr_zero(bits)));
        }
    }
    // Calls `action` for each member; then it has none.
    template <class Action>
    [[gnu::always_inline]] void drain(Action action) noexcept {
        for_each(action);
        for (; used_ != 0; used_ &= used_ - 1) words_[static_cast<unsigned>(std::countr_zero(used_))] = 0;
    }

private:
    std::array<std::uint64_t, size / 64> words_{};
    std::uint64_t used_ = 0;  // a bit per word that may have bits
};

}  // namespace undercroft
