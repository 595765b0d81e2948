// SPDX-License-Identifier: Apache-2.0
#include "memory/page_compression.hpp"

#include <cstdint>
#include <utility>

namespace undercroft {
namespace {

constexpr unsigned words = 512;
constexpr unsigned kinds_size = words / 4;

enum Kind : unsigned { Zero, Known, Near, New };

// The words that had each hash last. Words that differ in their low bits only have the same one.
class Dictionary {
public:
    Dictionary() noexcept {
        for (std::uint64_t& word : words_) word = 0;
    }
    static unsigned hash(std::uint64_t word) noexcept {
        return static_cast<unsigned>((word >> low_bits) * 0x9e3779b97f4a7c15 >> 40) % size;
    }
    Kind kind_of(std::uint64_t word) const noexcept {
        std::uint64_t known = words_[hash(word)];
        if (known == word) return Known;
        return known >> low_bits == word >> low_bits ? Near : New;
    }
    std::uint64_t operator[](unsigned hash) const noexcept { return words_[hash]; }
    std::uint64_t near_to(unsigned hash, std::uint64_t low) const noexcept {
        return words_[hash] >> low_bits << low_bits | low;
    }
    void remember(std::uint64_t word) noexcept { words_[hash(word)] = word; }

private:
    static constexpr unsigned size = 256;
    static constexpr unsigned low_bits = 16;

    std::uint64_t words_[size];  // NOLINT(modernize-avoid-c-arrays): filled by a loop, not by memset()
};

template <class Number>
Number load(const std::byte* from) noexcept {
    Number value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

template <class Number>
void store(std::byte* to, Number value) noexcept {
    __builtin_memcpy(to, &value, sizeof value);
}

constexpr unsigned bytes_of(Kind kind) {
    switch (kind) {
        case Zero: return 0;
        case Known: return 1;
        case Near: return 3;
        case New: break;
    }
    return 8;
}

}  // namespace

std::size_t compress_page(const std::byte* page, std::span<std::byte> to) noexcept {
    if (to.size() < kinds_size) return 0;
    Dictionary dictionary;
    std::size_t at = kinds_size;
    unsigned kinds = 0;
    for (unsigned n = 0; n < words; ++n) {
        auto word = load<std::uint64_t>(page + std::size_t{n} * 8);
        Kind kind = word == 0 ? Zero : dictionary.kind_of(word);
        kinds |= kind << n % 4 * 2;
        if (n % 4 == 3) to[n / 4] = static_cast<std::byte>(std::exchange(kinds, 0));
        if (to.size() - at < bytes_of(kind)) return 0;
        if (kind == Zero) continue;
        if (kind == New) {
            store(&to[at], word);
        } else {
            to[at] = static_cast<std::byte>(Dictionary::hash(word));
            if (kind == Near) store(&to[at + 1], static_cast<std::uint16_t>(word));
        }
        at += bytes_of(kind);
        dictionary.remember(word);
    }
    return at;
}

void expand_page(std::span<const std::byte> from, std::byte* page) noexcept {
    if (from.size() < kinds_size) return;
    Dictionary dictionary;
    std::size_t at = kinds_size;
    for (unsigned n = 0; n < words; ++n) {
        auto kind = static_cast<Kind>(static_cast<unsigned>(from[n / 4]) >> n % 4 * 2 & 3);
        if (from.size() - at < bytes_of(kind)) return;
        const std::byte* coded = from.data() + at;
        std::uint64_t word = 0;
        if (kind == New) word = load<std::uint64_t>(coded);
        if (kind == Known) word = dictionary[load<std::uint8_t>(coded)];
        if (kind == Near)
            word = dictionary.near_to(load<std::uint8_t>(coded), load<std::uint16_t>(coded + 1));
        if (kind != Zero) dictionary.remember(word);
        store(page + std::size_t{n} * 8, word);
        at += bytes_of(kind);
    }
}

}  // namespace undercroft
