// SPDX-License-Identifier: Apache-2.0
// A path that leads to exactly the file of a descriptor, for calls that take no descriptor opened with
// O_PATH.

#pragma once

#include <fmt/format.h>

#include <array>

namespace undercroft {

class DescriptorPath {
public:
    explicit DescriptorPath(int fd) { *fmt::format_to(text_.data(), "/proc/self/fd/{}", fd) = '\0'; }
    const char* c_str() const { return text_.data(); }

private:
    std::array<char, 32> text_;
};

}  // namespace undercroft
