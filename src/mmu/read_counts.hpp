// SPDX-License-Identifier: Apache-2.0
// ReadCounts: which pages without frames of their own a vCPU reads again and again.
//
// The software TLB does not hold them (see memory/guest_memory.hpp), so each read of one is a miss. After a
// few the page is worth a frame; what is read now and then stays shared with everybody. Pages that are read
// in turn and are counted in one place keep each other from it, so after many such reads one of them gets a
// frame.

#pragma once

#include <array>
#include <cstdint>

namespace undercroft {

class ReadCounts {
public:
    static constexpr unsigned enough = 8;
    static constexpr unsigned too_many_in_turn = 64;

    // Counts a read. True: enough of them.
    bool are_enough(std::uint64_t pfn) noexcept {
        Count& count = counts_[pfn % size];
        if (count.pfn != pfn) {
            count.pfn = pfn;
            count.reads = 1;
            count.in_turn = (count.in_turn + 1) % too_many_in_turn;
            return count.in_turn == 0;
        }
        return ++count.reads >= enough;
    }

private:
    static constexpr unsigned size = 64;
    struct Count {
        std::uint64_t pfn = 0;
        unsigned reads = 0;
        unsigned in_turn = 0;  // times that another page took the place
    };

    std::array<Count, size> counts_{};  // of the last one read of those whose numbers end alike
};

}  // namespace undercroft
