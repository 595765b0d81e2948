// SPDX-License-Identifier: Apache-2.0
// The verb `pause`: a machine stands still until `resume`.
#pragma once

#include "cli/machine_verb.hpp"

namespace undercroft::cli {

void add_pause(CLI::App& app, Done done);

}  // namespace undercroft::cli
