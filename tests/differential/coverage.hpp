// SPDX-License-Identifier: Apache-2.0
// Which forms were tried.

#pragma once

#include "job.hpp"

namespace undercroft::differential {

// Prints a table of all forms by group, with those left out and why. Returns how many are missing without a
// reason.
unsigned print_coverage(const Forms& forms, const Progress& progress);

std::uint64_t executed(const Forms& forms, const Progress& progress);

}  // namespace undercroft::differential
