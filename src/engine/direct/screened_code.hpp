// SPDX-License-Identifier: Apache-2.0
// ScreenedCode: pages of code that have been looked through for sensitive instructions, with what was found.
// Pages are mapped again and again, as address spaces come and go, and to look through one costs 40 us.

#pragma once

#include "engine/direct/sensitive.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace undercroft::direct {

class ScreenedCode {
public:
    struct Page {
        std::uint64_t pfn = ~0ull;
        std::span<const std::byte> bytes{};  // all of it; empty: not to be seen
    };
    struct Finding {
        SensitiveInstructions found;
        bool across = false;  // one begins at the end of the page before, and goes on in this one
    };

    // `starts`: where instructions are known to begin, sorted. The finding is good until the next call.
    const Finding& look(const Page& page, const Page& before, const Page& behind,
                        std::vector<std::uint16_t> starts);
    // What depends on pages that may have other bytes now: has_changed(pfn).
    template <class HasChanged>
    void forget(HasChanged has_changed) {
        std::erase_if(pages_, [&](const auto& page) {
            return has_changed(page.first) || has_changed(page.second.before) ||
                   has_changed(page.second.behind);
        });
    }

private:
    static constexpr std::size_t most = 4096;

    struct Known {
        std::uint64_t before = 0;  // PFNs
        std::uint64_t behind = 0;
        std::vector<std::uint16_t> starts;
        Finding finding;
    };

    std::unordered_map<std::uint64_t, Known> pages_;  // by PFN
};

}  // namespace undercroft::direct
