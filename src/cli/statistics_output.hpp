// SPDX-License-Identifier: Apache-2.0
// How --stats and --json print figures.

#pragma once

#include "machine/statistics.hpp"

#include <cstdio>

namespace undercroft::cli {

void print_table(std::FILE* to, const Statistics& statistics);

// One object: {"section": {"figure": number, "figure_bytes": number, "figure_s": number}}, names in lower
// case with
// '_' for what is neither letter nor digit.
void print_json(std::FILE* to, const Statistics& statistics);

}  // namespace undercroft::cli
