// SPDX-License-Identifier: Apache-2.0
// The rows of the table: what is measured, and what we want to reach.

#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace undercroft::bench {

// What a goal is a multiple of.
enum class Against { Native, QemuMicrovm };

struct Goal {
    double at_most = 0;  // times as long
    Against against = Against::Native;
};

struct Row {
    std::string_view name;     // as the program prints it
    std::string_view title;    // for people
    std::string_view command;  // a program of bench/programs with its argument; empty: the boot
    std::optional<Goal> goal;
    bool in_mean = true;  // counts in the geometric mean of how much faster than QEMU we are;
                          // not so the rows that are there for one weakness, theirs or ours
};

// We want that mean to be at least this.
constexpr double mean_goal = 6;

std::span<const Row> rows();
const Row* find_row(std::string_view name);  // null: there is none

}  // namespace undercroft::bench
