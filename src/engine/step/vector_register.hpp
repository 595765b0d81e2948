// SPDX-License-Identifier: Apache-2.0
// VectorRegister: a YMM register at rest, by elements. SSE and AVX state must be present (materialize()).

#pragma once

#include "engine/step/xsave_area.hpp"

#include <cstdint>
#include <cstring>

namespace undercroft {

class VectorRegister {
public:
    VectorRegister(Vcpu& vcpu, unsigned number)
        : low_{vcpu.xsave.data() + XsaveArea::xmm + 16 * number},
          high_{vcpu.xsave.data() + XsaveArea::ymm_high + 16 * number} {}

    std::uint64_t element(unsigned index, unsigned size) const {
        std::uint64_t value = 0;
        std::memcpy(&value, at(index * size), size);
        return value;
    }
    void set_element(unsigned index, unsigned size, std::uint64_t value) {
        std::memcpy(at(index * size), &value, size);
    }

    // Zeroes the bytes from `start` (at most 32) to the top.
    void clear_from(unsigned start) {
        if (start < 16) std::memset(low_ + start, 0, 16 - start);
        unsigned high = start < 16 ? 0 : start - 16;
        std::memset(high_ + high, 0, 16 - high);
    }

private:
    std::byte* at(unsigned byte) const { return byte < 16 ? low_ + byte : high_ + (byte - 16); }

    std::byte* low_;
    std::byte* high_;
};

}  // namespace undercroft
