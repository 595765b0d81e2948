// SPDX-License-Identifier: Apache-2.0
// RecentOutput: the newest part of what a console printed, for whoever comes to look.

#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace undercroft {

class RecentOutput {
public:
    static constexpr std::size_t capacity = 4 * 1024;

    void add(std::span<const std::byte> bytes);
    // From the beginning of a line, unless there is none.
    std::string text() const;

private:
    std::string kept_;  // up to twice the capacity, so that not each byte moves all others
    bool whole_ = true;
};

}  // namespace undercroft
