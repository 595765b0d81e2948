// SPDX-License-Identifier: Apache-2.0
// A notice between vCPUs (see code_exchange.hpp) as one word, so that it can be posted without a lock.

#pragma once

#include "base/bits.hpp"

#include <bit>
#include <cstdint>

namespace undercroft {

struct CodeNotice {
    using Page = Bits<39, 0>;
    using First = Bits<45, 40>;  // granules
    using Last = Bits<51, 46>;
    using Written = Bits<62>;  // else the page has become code
    using Valid = Bits<63>;

    static constexpr std::uint64_t became_code(std::uint64_t pfn) {
        return Page::set(Valid::mask<std::uint64_t>(), pfn);
    }
    // `mask` has one run of ones.
    static constexpr std::uint64_t written(std::uint64_t pfn, std::uint64_t mask) {
        std::uint64_t notice = became_code(pfn) | Written::mask<std::uint64_t>();
        notice = First::set(notice, static_cast<std::uint64_t>(std::countr_zero(mask)));
        return Last::set(notice, static_cast<std::uint64_t>(63 - std::countl_zero(mask)));
    }
};

}  // namespace undercroft
