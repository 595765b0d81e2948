// SPDX-License-Identifier: Apache-2.0
// Adds the host TSC ticks of its own lifetime to a counter: some 20 ns for both ends.

#pragma once

#include <cstdint>

namespace undercroft {

class Stopwatch {
public:
    explicit Stopwatch(std::uint64_t& ticks) : ticks_{ticks}, begin_{__builtin_ia32_rdtsc()} {}
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;
    std::uint64_t elapsed() const { return __builtin_ia32_rdtsc() - begin_; }
    ~Stopwatch() { ticks_ += elapsed(); }

private:
    std::uint64_t& ticks_;
    std::uint64_t begin_;
};

}  // namespace undercroft
