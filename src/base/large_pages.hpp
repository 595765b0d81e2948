// SPDX-License-Identifier: Apache-2.0
// The host's large pages, for memory of ours that is used all over: one page-table entry, one page fault and
// one TLB entry for 2 MiB. Hints, all of them: a host that has none to give changes nothing but the speed.

#pragma once

#include <cstddef>

namespace undercroft {

inline constexpr std::size_t large_page_size = std::size_t{2} << 20;

// Brings each large page that lies wholly in [begin, begin + size) together, whatever of it was touched
// before (madvise(2), MADV_COLLAPSE, since Linux 6.1; also of shared memory). All of it must be readable.
// False: the host refused some. Any thread, also in helpers of translated code: general registers only.
bool collapse_large_pages(void* begin, std::size_t size) noexcept;

}  // namespace undercroft
