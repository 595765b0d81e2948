// SPDX-License-Identifier: Apache-2.0
#include "memory/page_hash.hpp"

#include "x86/paging.hpp"

#include <immintrin.h>

#include <array>
#include <cstring>

namespace undercroft {
namespace {

constexpr std::size_t lane_count = 8;  // chains that do not wait for each other
constexpr std::uint64_t factor = 0x9e3779b97f4a7c15;

// A block of 16 bytes is one instruction: a round of AES of what came before, and the block as its key.
__attribute__((target("aes"))) std::uint64_t hash_by_aes(const std::byte* page) noexcept {
    const auto* blocks = reinterpret_cast<const __m128i*>(page);
    __m128i lanes[lane_count];  // no std::array: g++ warns of the type's attributes
    // Without symmetry, which rounds would leave as it is.
    for (std::size_t n = 0; n < lane_count; ++n) {
        lanes[n] = _mm_set_epi64x(static_cast<long long>((2 * n + 1) * factor),
                                  static_cast<long long>((2 * n + 2) * factor));
    }
    for (std::size_t at = 0; at < page_size / sizeof *blocks; at += lane_count) {
#pragma GCC unroll 8  // lanes in registers; without being told, g++ -O2 keeps them in memory
        for (std::size_t n = 0; n < lane_count; ++n)
            lanes[n] = _mm_aesenc_si128(lanes[n], _mm_load_si128(blocks + at + n));
    }
    // What a byte changes is all of its lane after two rounds, and only then do lanes meet.
    __m128i key = _mm_set_epi64x(0, static_cast<long long>(factor));
    __m128i hash = key;
    for (__m128i lane : lanes)
        hash = _mm_aesenc_si128(hash, _mm_aesenc_si128(_mm_aesenc_si128(lane, key), key));
    hash = _mm_aesenc_si128(_mm_aesenc_si128(hash, key), key);
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(hash));
}

}  // namespace

std::uint64_t page_hash_by_factors(const std::byte* page) noexcept {
    std::array<std::uint64_t, lane_count> lanes{1, 2, 3, 4, 5, 6, 7, 8};
    for (std::size_t at = 0; at < page_size; at += sizeof lanes) {
        std::array<std::uint64_t, lane_count> words;
        std::memcpy(words.data(), page + at, sizeof words);
#pragma GCC unroll 8
        for (std::size_t n = 0; n < lane_count; ++n) {
            lanes[n] = (lanes[n] ^ words[n]) * factor;
            lanes[n] ^= lanes[n] >> 29;  // a factor alone carries nothing downwards
        }
    }
    std::uint64_t hash = 0;
    for (std::uint64_t lane : lanes) hash = (hash ^ lane) * factor;
    return hash ^ hash >> 32;
}

std::uint64_t page_hash(const std::byte* page) noexcept {
    static const auto hash = __builtin_cpu_supports("aes") ? hash_by_aes : page_hash_by_factors;
    return hash(page);
}

}  // namespace undercroft
