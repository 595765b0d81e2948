// SPDX-License-Identifier: Apache-2.0
#include "recent_output.hpp"

namespace undercroft {

void RecentOutput::add(std::span<const std::byte> bytes) {
    if (bytes.size() > capacity) {
        whole_ = false;
        bytes = bytes.last(capacity);
    }
    kept_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (kept_.size() <= 2 * capacity) return;
    whole_ = false;
    kept_.erase(0, kept_.size() - capacity);
}

std::string RecentOutput::text() const {
    bool all = whole_ && kept_.size() <= capacity;
    if (all) return kept_;
    std::string newest = kept_.size() > capacity ? kept_.substr(kept_.size() - capacity) : kept_;
    std::size_t end_of_line = newest.find('\n');
    return end_of_line == std::string::npos ? newest : newest.substr(end_of_line + 1);
}

}  // namespace undercroft
