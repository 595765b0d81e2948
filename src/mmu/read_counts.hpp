// SPDX-License-Identifier: Apache-2.0
// ReadCounts: which pages without frames of their own a vCPU reads again and again.
//
// The software TLB does not hold them (see memory/guest_memory.hpp), so each read of one is a miss. After a
// few the page is worth a frame; what is read now and then stays shared with everybody.

#pragma once

#include <array>
#include <cstdint>

namespace undercroft {

class ReadCounts {
public:
    static constexpr unsigned enough = 8;

    // Counts a read. True: enough of them.
    bool are_enough(std::uint64_t pfn) noexcept {
        Count& count = counts_[pfn % size];
        if (count.pfn != pfn) count = {pfn, 0};
        return ++count.reads >= enough;
    }

private:
    static constexpr unsigned size = 64;
    struct Count {
        std::uint64_t pfn = 0;
        unsigned reads = 0;
    };

    std::array<Count, size> counts_{};  // of the last one read of those whose numbers end alike
};

}  // namespace undercroft
