// SPDX-License-Identifier: Apache-2.0
// What --stats shows: named figures in sections.

#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace undercroft {

struct Figure {
    std::string name;
    std::variant<std::uint64_t, double> value;  // a double is seconds
    std::string unit;                           // "", "s", "bytes"
};

struct StatisticsSection {
    std::string name;
    std::vector<Figure> figures;
};

using Statistics = std::vector<StatisticsSection>;

// Bytes of memory that the host backs for this process now; its most so far.
std::uint64_t resident_bytes();
std::uint64_t peak_resident_bytes();

}  // namespace undercroft
