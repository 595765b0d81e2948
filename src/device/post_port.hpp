// SPDX-License-Identifier: Apache-2.0
// PostPort: port 0x80, where a PC's firmware shows its progress and Linux writes to pass a microsecond.
//
// It reads all ones and ignores writes, as an unclaimed port does, but nobody is told.

#pragma once

#include "bus.hpp"

#include <cstdint>

namespace undercroft {

class PostPort final : public Device {
public:
    static constexpr std::uint64_t length = 1;

    std::uint64_t read(std::uint64_t, unsigned) override { return ~std::uint64_t{0}; }
    void write(std::uint64_t, unsigned, std::uint64_t) override {}
};

}  // namespace undercroft
