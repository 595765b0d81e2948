// SPDX-License-Identifier: Apache-2.0
// Model-specific registers that always read the same: what a stock kernel looks at on this vendor's
// processors. Private to cpu/.

#pragma once

#include <cstdint>

namespace undercroft {

struct ConstantMsr {
    enum class Writes : std::uint8_t { Ignored, Refused };

    std::uint32_t index;
    Writes writes;
    std::uint64_t value;
};

// Null: not one of them.
const ConstantMsr* find_constant_msr(std::uint32_t index, bool is_amd) noexcept;

}  // namespace undercroft
