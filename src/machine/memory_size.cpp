// SPDX-License-Identifier: Apache-2.0
#include "memory_size.hpp"

#include "machine/layout.hpp"

#include <fmt/core.h>

#include <charconv>

namespace undercroft {
namespace {

constexpr int shift_of(char suffix) {
    switch (suffix) {
        case 'k':
        case 'K': return 10;
        case 'm':
        case 'M': return 20;
        case 'g':
        case 'G': return 30;
        default: return -1;
    }
}

}  // namespace

Result<std::uint64_t> parse_memory_size(std::string_view text) {
    auto refuse = [&](std::string reason) { return Error{fmt::format("memory '{}': {}", text, reason)}; };
    std::string_view digits = text;
    int shift = text.empty() ? -1 : shift_of(text.back());
    if (shift >= 0) digits.remove_suffix(1);
    shift = shift < 0 ? 0 : shift;
    std::uint64_t number = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (digits.empty() || end != digits.data() + digits.size())
        return refuse("not a size such as 512M or 4G");
    bool too_large = error == std::errc::result_out_of_range || number > layout::max_memory >> shift;
    if (too_large) return refuse(fmt::format("more than {} GiB", layout::max_memory >> 30));
    std::uint64_t bytes = number << shift;
    if (bytes < layout::min_memory) {
        return refuse(fmt::format("too small, a guest needs {} MiB at least", layout::min_memory >> 20));
    }
    if (bytes % page_size != 0) return refuse("not a multiple of 4 KiB");
    return bytes;
}

}  // namespace undercroft
