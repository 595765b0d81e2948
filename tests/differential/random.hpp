// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same everywhere: splitmix64.

#pragma once

#include <cstddef>
#include <cstdint>

namespace undercroft::differential {

class Random {
public:
    explicit Random(std::uint64_t seed) : state_{seed} {}
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    std::uint64_t below(std::uint64_t limit) { return next() % limit; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    bool percent(std::uint64_t chance) { return below(100) < chance; }
    std::uint8_t byte() { return static_cast<std::uint8_t>(next() >> 32); }
    template <class Container>
    const auto& of(const Container& choices) {
        return choices[static_cast<std::size_t>(below(choices.size()))];
    }

private:
    std::uint64_t state_;
};

}  // namespace undercroft::differential
