// SPDX-License-Identifier: Apache-2.0
// The verb `console`: connects this terminal to a machine's console.
#pragma once

#include "cli/machine_verb.hpp"

namespace undercroft::cli {

void add_console(CLI::App& app, Done done);

}  // namespace undercroft::cli
