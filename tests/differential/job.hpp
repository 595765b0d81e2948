// SPDX-License-Identifier: Apache-2.0
// One job's share of a run: makes sequences in batches, has them run, compares, and tells of differences.

#pragma once

#include "forms.hpp"
#include "trial.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

namespace undercroft::differential {

inline constexpr unsigned most_jobs = 64;
inline constexpr std::size_t most_forms = 16384;

struct Plan {
    std::uint64_t seed = 0;
    std::uint64_t from = 0;
    std::uint64_t sequences = 100'000;
    std::uint64_t direct_every = 1;  // which sequences are executed directly as well; zero: none
    unsigned most_differences = 12;  // of a job, before it gives up
    std::string case_folder = ".";
};

// Shared by the jobs.
struct Progress {
    std::atomic<std::uint64_t> compared{0};
    std::atomic<std::uint64_t> left_out{0};  // by the judge
    std::atomic<std::uint64_t> different{0};
    std::atomic<std::uint64_t> direct{0};        // that were to be executed directly ...
    std::atomic<std::uint64_t> direct_stays{0};  // ... and how often they were, for a while
    std::array<std::atomic<std::uint64_t>, most_jobs> at{};
    std::array<std::atomic<std::uint64_t>, most_forms> tried{};
};

void run_job(const Forms& forms, const Plan& plan, unsigned number, unsigned jobs, Progress& progress);

}  // namespace undercroft::differential
