// SPDX-License-Identifier: Apache-2.0
// What a fuzz target does with its bytes: takes numbers from the front until nothing is left.
//
// A target defines LLVMFuzzerTestOneInput. libFuzzer calls it (CMake preset `fuzz`), and so does replay.cpp,
// which needs no clang. A finding is a failed CHECK or a sanitizer's report.

#pragma once

#include "base/check.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace undercroft::fuzz {

class Input {
public:
    Input(const std::uint8_t* data, std::size_t size)
        : rest_{reinterpret_cast<const std::byte*>(data), size} {}

    bool empty() const { return rest_.empty(); }
    std::span<const std::byte> rest() const { return rest_; }

    // The next bytes as a number; zeros behind the end.
    template <class T>
    T take() {
        T value{};
        auto bytes = take_bytes(sizeof value);
        std::memcpy(&value, bytes.data(), bytes.size());
        return value;
    }
    std::span<const std::byte> take_bytes(std::size_t most) {
        auto taken = rest_.first(std::min(most, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }
    std::uint64_t below(std::uint64_t limit) { return take<std::uint8_t>() % limit; }

private:
    std::span<const std::byte> rest_;
};

}  // namespace undercroft::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
