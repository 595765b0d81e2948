// SPDX-License-Identifier: Apache-2.0
// The verb `stop`: presses the power button, or ends a machine.
#pragma once

#include "cli/machine_verb.hpp"

namespace undercroft::cli {

void add_stop(CLI::App& app, Done done);

}  // namespace undercroft::cli
