// SPDX-License-Identifier: Apache-2.0
// Numbers without order, the same ones in every run from the same seed (Marsaglia's xorshift).

#pragma once

#include "runtime/cpu.hpp"

namespace micro {

class Random {
public:
    explicit constexpr Random(u64 seed) : state_{seed} {}  // not zero

    u64 operator()() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_;
    }

private:
    u64 state_;
};

}  // namespace micro
