// SPDX-License-Identifier: Apache-2.0
// PageHistory: what passes through a machine's memory have seen of each page, in a word per page: whether it
// changes, and for how long nobody has used it.
//
// Use is what fills a TLB (PmapEntry::used_since). An entry that a TLB held before says nothing, so a pass
// counts only if TLBs were emptied in the one before, after it had looked.

#pragma once

#include "memory/reservation.hpp"

#include <cstdint>

namespace undercroft {

class PageHistory {
public:
    enum class Finding : std::uint8_t {
        Changed,  // or seen for the first time
        InUse,
        Aging,       // not used since the pass before
        BecameCold,  // the same, for some passes in turn
        Cold,        // since before
    };
    // Passes in turn without use until a page is cold.
    static constexpr unsigned cold_age = 3;

    explicit PageHistory(std::uint64_t pages) : words_{pages * sizeof(std::uint32_t)} {}
    explicit operator bool() const { return static_cast<bool>(words_); }

    // Of a pass that looks at a page. `used`: since the last one.
    Finding look(std::uint64_t pfn, std::uint64_t hash, bool used) noexcept {
        std::uint32_t& word = reinterpret_cast<std::uint32_t*>(words_.data())[pfn];
        std::uint32_t of_hash = static_cast<std::uint32_t>(hash) & ~age_mask;
        unsigned age = word & age_mask;
        bool changed = (word & ~age_mask) != of_hash;
        if (changed || used) {
            word = of_hash;
            return changed ? Finding::Changed : Finding::InUse;
        }
        if (age == cold_age) return Finding::Cold;
        if (tlbs_were_emptied_) word = of_hash | ++age;
        return age == cold_age ? Finding::BecameCold : Finding::Aging;
    }
    // Of a pass that has looked at all: were TLBs emptied since?
    void end_pass(bool tlbs_were_emptied) noexcept { tlbs_were_emptied_ = tlbs_were_emptied; }

private:
    static constexpr std::uint32_t age_mask = 3;

    Reservation words_;  // bits of the hash above the age
    bool tlbs_were_emptied_ = false;
};

}  // namespace undercroft
