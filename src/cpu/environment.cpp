// SPDX-License-Identifier: Apache-2.0
// What the host itself knows: time-stamp counter and random numbers.
//
// Source: Intel SDM vol. 2B RDRAND, RDSEED. Only asked for where CPUID shows them, which is where the host
// has them.
#include "cpu/environment.hpp"

namespace undercroft {
namespace {

// The destination of the instruction with CF; zero where CF is clear.
struct Drawn {
    std::uint64_t value = 0;
    unsigned char valid = 0;
};

template <class T>
Drawn draw(RandomSource source) noexcept {
    T value = 0;
    unsigned char valid = 0;
    if (source == RandomSource::Rdrand) {
        asm volatile("rdrand %0" : "=r"(value), "=@ccc"(valid));
    } else {
        asm volatile("rdseed %0" : "=r"(value), "=@ccc"(valid));
    }
    return {value, valid};
}

}  // namespace

std::uint64_t Environment::host_time_stamp() noexcept { return __builtin_ia32_rdtsc(); }

std::optional<std::uint64_t> Environment::random(RandomSource source, unsigned size) noexcept {
    Drawn drawn = size == 8   ? draw<std::uint64_t>(source)
                  : size == 4 ? draw<std::uint32_t>(source)
                              : draw<std::uint16_t>(source);
    return drawn.valid != 0 ? std::optional{drawn.value} : std::nullopt;
}

}  // namespace undercroft
