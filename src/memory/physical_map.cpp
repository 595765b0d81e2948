// SPDX-License-Identifier: Apache-2.0
#include "memory/physical_map.hpp"

#include "base/check.hpp"

namespace undercroft {

// calloc rather than a vector: a large table comes as fresh zero pages, of which only those for RAM get
// touched.
PhysicalMap::PhysicalMap(std::uint64_t page_limit, std::byte* pool)
    : entries_{static_cast<std::uint32_t*>(std::calloc(page_limit, sizeof(std::uint32_t)))},
      page_limit_{entries_ ? page_limit : 0},
      pool_{pool} {}

void PhysicalMap::map(std::uint64_t pfn, MachineFrame frame) {
    auto number = static_cast<std::uint64_t>(frame);
    CHECK(pfn < page_limit_, "a page above the map");
    CHECK(number >> frame_bits == 0, "a frame above the pool's limit");
    entries_[pfn] = static_cast<std::uint32_t>(number);
}

}  // namespace undercroft
