// SPDX-License-Identifier: Apache-2.0
// Two results side by side.

#pragma once

#include "state.hpp"

#include <string>
#include <vector>

namespace undercroft::differential {

// What differs, a line each; empty if nothing does.
std::vector<std::string> differences(const Ending& bare, const Ending& engine, std::uint32_t undefined_flags);

bool equal(const Ending& bare, const Ending& engine, std::uint32_t undefined_flags);

// Components that are in their initial state written out, and without what differs from run to run.
void normalize(State& state, std::uint32_t undefined);

}  // namespace undercroft::differential
