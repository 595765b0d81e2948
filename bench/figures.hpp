// SPDX-License-Identifier: Apache-2.0
// What a boot costs us besides time: translation, code, memory. From `undercroft run --json`.

#pragma once

#include "contestant.hpp"
#include "results.hpp"

#include "base/result.hpp"

#include <vector>

namespace undercroft::bench {

// Boots once, to the power-off.
Result<std::vector<Figure>> boot_figures(const Paths& paths);

}  // namespace undercroft::bench
