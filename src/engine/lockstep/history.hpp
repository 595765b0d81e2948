// SPDX-License-Identifier: Apache-2.0
// The recent past of both engines, and how a difference is told.

#pragma once

#include "cpu/vcpu.hpp"
#include "engine/lockstep/memories.hpp"
#include "engine/lockstep/state.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace undercroft::lockstep {

// The newest `count` of a sequence.
template <class T, std::size_t count>
class Ring {
public:
    void add(const T& item) { items_[added_++ % count] = item; }
    std::uint64_t added() const { return added_; }
    // The newest `wanted` there are, oldest first.
    template <class Action>
    void for_each_of_last(std::uint64_t wanted, Action action) const {
        std::uint64_t available = std::min({wanted, added_, std::uint64_t{count}});
        for (std::uint64_t n = added_ - available; n < added_; n++) action(items_[n % count]);
    }

private:
    std::array<T, count> items_{};
    std::uint64_t added_ = 0;
};

// A stretch of the leader's way between two comparisons.
struct Stretch {
    std::uint64_t from = 0;  // rip
    std::uint64_t to = 0;
    std::uint64_t instructions = 0;
};

// An instruction of the follower, as it found the registers.
struct Stepped {
    std::uint64_t rip = 0;
    std::uint64_t flags = 0;
    std::array<std::uint64_t, 16> gpr{};
};

struct History {
    Ring<Stretch, 64> leader;
    Ring<Stepped, 4096> follower;
};

// What was found to differ. Where nothing is given but `what`, that says it all.
struct Difference {
    std::string what{};
    std::vector<FieldDifference> fields{};
    std::optional<MemoryDifference> memory{};
    std::uint64_t instructions = 0;  // executed when it was found
    std::uint64_t last_stretch = 0;  // how many of them since the comparison before
    std::uint64_t rip = 0;           // of the instruction that is most likely to blame
};

// The instruction that wrote the memory which differs, or that of the last stretch after which a field that
// differs had its present value in the follower; if that cannot be told, the stretch's first.
std::uint64_t likely_culprit(const Vcpu& follower, const History& history, const Difference& difference);

// One line: what, where, after how many instructions.
std::string summary(const Difference& difference);
// Both histories, with disassembly; registers and memory side by side.
std::string report(Vcpu& leader, Vcpu& follower, const History& history, const Difference& difference);

}  // namespace undercroft::lockstep
