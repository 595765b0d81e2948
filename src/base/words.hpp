// SPDX-License-Identifier: Apache-2.0
// What users write with commas between it.

#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

namespace undercroft {

// The words, of which there is one more than commas; any may be empty.
inline std::vector<std::string_view> words_between_commas(std::string_view text) {
    std::vector<std::string_view> words;
    for (std::size_t from = 0; from <= text.size();) {
        std::size_t end = std::min(text.find(',', from), text.size());
        words.push_back(text.substr(from, end - from));
        from = end + 1;
    }
    return words;
}

}  // namespace undercroft
