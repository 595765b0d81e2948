// SPDX-License-Identifier: Apache-2.0
// The verb `ps`: lists machines.
#pragma once

#include "cli/machine_verb.hpp"

namespace undercroft::cli {

void add_ps(CLI::App& app, Done done);

}  // namespace undercroft::cli
