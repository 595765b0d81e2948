// SPDX-License-Identifier: Apache-2.0
#include "memory_summary.hpp"

#include <fmt/core.h>

namespace undercroft {

std::string memory_summary(std::uint64_t touched, std::uint64_t frames) {
    std::string text =
        fmt::format("{} MiB of memory in use, in {} MiB of the host's", touched >> 20, frames >> 20);
    if (touched > frames)
        text +=
            fmt::format(": equal pages are kept once, which saves {} %", (touched - frames) * 100 / touched);
    return text;
}

}  // namespace undercroft
