// SPDX-License-Identifier: Apache-2.0
// What memory holds before a sequence runs, and a hash of what it holds afterwards.

#pragma once

#include "state.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

namespace undercroft::differential {

using Page = std::array<std::byte, page>;
using Image = std::array<Page, frame_count>;

// Template 0 is zero; the others are numbers, pointers, floats of all kinds.
inline constexpr unsigned template_count = 16;

// The frame as `sequence` finds it.
class Images {
public:
    Images();
    void prepare(const Sequence& sequence, unsigned frame, std::byte* to) const;

private:
    std::vector<std::unique_ptr<Image>> templates_;
};

// Of a frame after the run, without what is not to be compared.
std::uint64_t hash_frame(const Sequence& sequence, unsigned frame, const std::byte* bytes);

}  // namespace undercroft::differential
