// SPDX-License-Identifier: Apache-2.0
// The verb `resume`: a paused machine goes on.
#pragma once

#include "cli/machine_verb.hpp"

namespace undercroft::cli {

void add_resume(CLI::App& app, Done done);

}  // namespace undercroft::cli
