// SPDX-License-Identifier: Apache-2.0
// A hash of a page's contents, to find candidates for sharing; equality is established by comparing. The page
// may change meanwhile.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace undercroft {

inline std::uint64_t page_hash(const std::byte* page) {
    constexpr std::uint64_t factor = 0x9e3779b97f4a7c15;
    std::array<std::uint64_t, 8> lanes{1, 2, 3, 4, 5, 6, 7, 8};
    for (std::size_t at = 0; at < 4096; at += sizeof lanes) {
        std::array<std::uint64_t, lanes.size()> words;
        std::memcpy(words.data(), page + at, sizeof words);
#pragma GCC unroll 8  // lanes in registers; without being told, g++ -O2 keeps them in memory
        for (std::size_t n = 0; n < lanes.size(); ++n) {
            lanes[n] = (lanes[n] ^ words[n]) * factor;
            lanes[n] ^= lanes[n] >> 29;  // a factor alone carries nothing downwards
        }
    }
    std::uint64_t hash = 0;
    for (std::uint64_t lane : lanes) hash = (hash ^ lane) * factor;
    return hash ^ hash >> 32;
}

}  // namespace undercroft
