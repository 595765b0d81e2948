// SPDX-License-Identifier: Apache-2.0
// How --stats and --json print figures.

#pragma once

#include "monitor/reports.hpp"

#include <cstdio>
#include <vector>

namespace undercroft::cli {

void print_tables(std::FILE* to, const std::vector<TenantReport>& machines);

// One object: {"section": {"figure": number, "figure_bytes": number, "figure_s": number}}, names in lower
// case with '_' for what is neither letter nor digit. Of several machines: {"name": {"section": ...}}.
void print_json(std::FILE* to, const std::vector<TenantReport>& machines);

}  // namespace undercroft::cli
