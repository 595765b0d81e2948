// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/screened_code.hpp"

#include <utility>

namespace undercroft::direct {

const ScreenedCode::Finding& ScreenedCode::look(const Page& page, const Page& before, const Page& behind,
                                                std::vector<std::uint16_t> starts) {
    if (pages_.size() == most) pages_.clear();
    auto [entry, is_new] = pages_.try_emplace(page.pfn);
    Known& known = entry->second;
    bool same = known.before == before.pfn && known.behind == behind.pfn && known.starts == starts;
    if (!is_new && same) return known.finding;
    std::span<const std::byte> last = before.bytes;
    if (!last.empty()) last = last.last(bytes_before + bytes_behind);
    std::span<const std::byte> next = behind.bytes;
    if (!next.empty()) next = next.first(bytes_behind);
    Finding finding{.found = sensitive_instructions(
                        {.before = last, .code = page.bytes, .behind = next, .starts = starts})};
    if (!last.empty())
        finding.across = !sensitive_instructions({.before = last.first(bytes_before),
                                                  .code = last.last(bytes_behind),
                                                  .behind = page.bytes.first(bytes_behind)})
                              .empty();
    known = {before.pfn, behind.pfn, std::move(starts), std::move(finding)};
    return known.finding;
}

}  // namespace undercroft::direct
