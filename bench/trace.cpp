// SPDX-License-Identifier: Apache-2.0
// What recording an event of a trace costs: wanted, not wanted, and with nobody who records (a null pointer,
// as on every path that can be traced).

#include "base/clock.hpp"
#include "trace/ring.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>

namespace undercroft::bench {
namespace {

constexpr std::uint64_t events = 1'000'000;
constexpr int rounds = 9;

// Of the best round: what disturbs a round only makes it longer.
double ns_per_event(const HostClock& clock, TraceRing* ring) {
    std::uint64_t best = ~0ull;
    for (int round = 0; round < rounds; ++round) {
        std::uint64_t begin = clock.ticks();
        for (std::uint64_t n = 0; n < events; ++n) {
            asm volatile("" : "+r"(ring));  // to be looked at each time
            if (ring != nullptr) ring->record(TraceKind::SystemCall, {.address = n, .value = n, .target = n});
        }
        best = std::min(best, clock.ticks() - begin);
    }
    return static_cast<double>(clock.to_ns(best)) / events;
}

}  // namespace
}  // namespace undercroft::bench

int main() {
    using namespace undercroft;
    HostClock clock;
    std::uint64_t rip = 0;
    std::uint64_t address_space = 0;
    std::uint8_t cpl = 0;
    TraceRing::Source source{rip, address_space, cpl};
    TraceRing wanted{TraceKinds::all(), source};
    TraceRing others{{TraceKind::Hypercall}, source};
    fmt::print("recorded      {:6.2f} ns\n", bench::ns_per_event(clock, &wanted));
    fmt::print("not wanted    {:6.2f} ns\n", bench::ns_per_event(clock, &others));
    fmt::print("no trace      {:6.2f} ns\n", bench::ns_per_event(clock, nullptr));
}
