// SPDX-License-Identifier: Apache-2.0
// Bytes that guests and tests make alike: the first of what `seq 1 9000000` prints.

#pragma once

#include <cstddef>
#include <string>

namespace undercroft {

inline std::string pattern(std::size_t size) {
    std::string text;
    for (unsigned n = 1; text.size() < size; ++n) text += std::to_string(n) + "\n";
    text.resize(size);
    return text;
}

}  // namespace undercroft
