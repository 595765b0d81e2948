// SPDX-License-Identifier: Apache-2.0
// The verb `balloon`: asks a machine to give memory back.
#pragma once

#include "cli/machine_verb.hpp"

namespace undercroft::cli {

void add_balloon(CLI::App& app, Done done);

}  // namespace undercroft::cli
