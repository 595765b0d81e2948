// SPDX-License-Identifier: Apache-2.0
// A hash of a page's contents, to find candidates for sharing; equality is established by comparing. The page
// may change meanwhile.

#pragma once

#include <cstddef>
#include <cstdint>

namespace undercroft {

// The page lies at a multiple of 16. The same in one process only: by rounds of AES, if the processor has
// them.
std::uint64_t page_hash(const std::byte* page) noexcept;
// What it is without them.
std::uint64_t page_hash_by_factors(const std::byte* page) noexcept;

}  // namespace undercroft
