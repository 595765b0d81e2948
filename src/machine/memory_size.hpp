// SPDX-License-Identifier: Apache-2.0
// Sizes as users write them: 512M, 4G, 1048576K, 536870912.

#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <string_view>

namespace undercroft {

// Bytes. Errors: not a size; too small or too large for a guest; not a multiple of a page.
Result<std::uint64_t> parse_memory_size(std::string_view text);

}  // namespace undercroft
