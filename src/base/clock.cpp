// SPDX-License-Identifier: Apache-2.0
#include "clock.hpp"

#include <ctime>

namespace undercroft {
namespace {

std::uint64_t read_ns(clockid_t id) {
    timespec now{};
    clock_gettime(id, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

struct Sample {
    std::uint64_t ticks;
    std::uint64_t ns;

    // The tightest of a few pairs, so that being descheduled between the two reads does not count.
    static Sample take() {
        Sample best{};
        std::uint64_t width = ~0ull;
        for (int i = 0; i < 8; ++i) {
            std::uint64_t before = __builtin_ia32_rdtsc();
            std::uint64_t ns = read_ns(CLOCK_MONOTONIC_RAW);
            std::uint64_t after = __builtin_ia32_rdtsc();
            if (after - before < width) {
                width = after - before;
                best = {before + width / 2, ns};
            }
        }
        return best;
    }
};

const Sample program_start = Sample::take();
constexpr std::uint64_t measuring_ns = 20'000'000;

}  // namespace

// By the time a clock is made the program has usually run for longer than the measurement needs.
HostClock::HostClock() {
    Sample end = Sample::take();
    while (end.ns - program_start.ns < measuring_ns) end = Sample::take();
    std::uint64_t raw = scale(end.ticks - program_start.ticks, 1'000'000'000, end.ns - program_start.ns);
    hz_ = (raw + 500) / 1000 * 1000;
}

std::uint64_t HostClock::wall_ns() const { return read_ns(CLOCK_REALTIME); }

}  // namespace undercroft
