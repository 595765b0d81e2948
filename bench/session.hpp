// SPDX-License-Identifier: Apache-2.0
// A contestant at work: guests/scripts/bench runs in it and is told, row by row, what to measure.

#pragma once

#include "contestant.hpp"
#include "process.hpp"
#include "rows.hpp"

#include "base/result.hpp"

#include <string>

namespace undercroft::bench {

struct Sample {
    double value = 0;
    std::string unit;
    std::string answer;  // what the work came to: the same for all contestants
    double guest_s = 0;  // how long the program ran by its own clock
    double wall_s = 0;   // from our word to its end, by ours
};

class Session {
public:
    // Starts it and waits for its readiness.
    static Result<Session> start(const Contestant& contestant, double limit_s);

    double boot_s() const { return boot_s_; }  // start of the process to init's line; native: 0
    Result<Sample> run(const Row& row, double limit_s);
    // Powers it off. `said` is what it printed after the last row.
    Usage end(std::string& said);

private:
    explicit Session(Process process) : process_{std::move(process)} {}

    Process process_;
    double boot_s_ = 0;
};

// What a program's lines say (bench/README.md); an error if one of them is missing.
Result<Sample> parse_sample(const Row& row, const std::string& output);

}  // namespace undercroft::bench
