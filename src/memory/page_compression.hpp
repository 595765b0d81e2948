// SPDX-License-Identifier: Apache-2.0
// Makes a page smaller, for one that nobody is expected to use soon.
//
// What idle guests do not share are mostly tables of their kernels: zeroes, pointers into a few regions, and
// words seen before. So a page is taken as 512 words, and each of them as one of four: zero; equal to the
// word that had its hash last; equal to that one but for its low 16 bits; or anything else. (As the WK
// algorithms do it, with words of 64 bits: Wilson, Kaplan, Smaragdakis, "The Case for Compressed Caching in
// Virtual Memory Systems", USENIX 1999.) Such pages shrink to a fifth, at about a microsecond each way.
//
// The kinds of all words come first, two bits each; then, word by word, nothing, the hash's byte, the hash's
// byte and the two low bytes, or all eight bytes.

#pragma once

#include <cstddef>
#include <span>

namespace undercroft {

// Returns how much of `to` it takes; zero if that is too small.
std::size_t compress_page(const std::byte* page, std::span<std::byte> to) noexcept;

// Of what compress_page() never wrote it makes anything. In helpers of translated code, too.
void expand_page(std::span<const std::byte> from, std::byte* page) noexcept;

}  // namespace undercroft
