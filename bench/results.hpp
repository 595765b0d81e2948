// SPDX-License-Identifier: Apache-2.0
// What was measured, and what follows from it.
//
// A ratio is the median of the ratios of each run, whose contestants were measured within seconds of each
// other: what else the machine had to do then concerned all of them.

#pragma once

#include "contestant.hpp"
#include "rows.hpp"

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace undercroft::bench {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

// Of those that are there; `missing` if there are none.
double median(std::vector<double> values);

// By contestant, then by run; values that could not be had are `missing`.
using Values = std::vector<std::vector<double>>;

struct RowResult {
    const Row* row = nullptr;
    std::string unit;
    Values values;
};

// How a contestant's clock and its memory did, over all runs.
struct Account {
    double guest_s = 0, wall_s = 0;    // sums over all rows
    std::vector<double> peak_rss_mib;  // by run
};

// A figure that only we have: translation, memory.
struct Figure {
    std::string name, key, unit;
    double value = 0;
};

struct Results {
    std::vector<Contestant> contestants;
    std::vector<RowResult> rows;
    std::vector<Account> accounts;  // by contestant
    std::vector<Figure> figures;
    int runs = 0;
    std::string machine;  // the host's processor
    double load = 0;      // its load average before the first run

    std::optional<std::size_t> find(std::string_view key) const;  // a contestant
};

// How many times as long `one` takes as `other`; `missing` if either is.
double times_as_long(const RowResult& row, std::optional<std::size_t> one, std::optional<std::size_t> other);

// The verdict on a row, from our side.
struct Verdict {
    double times_native = missing;
    double over_qemu = missing;  // how many times faster than the faster of the QEMUs
    std::optional<bool> goal_met;
};
Verdict verdict(const Results& results, const RowResult& row);

// The geometric mean of over_qemu; `missing` without QEMU.
double mean_over_qemu(const Results& results);

}  // namespace undercroft::bench
