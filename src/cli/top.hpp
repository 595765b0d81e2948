// SPDX-License-Identifier: Apache-2.0
// The verb `top`: what machines do, again and again.
#pragma once

#include "cli/machine_verb.hpp"

namespace undercroft::cli {

void add_top(CLI::App& app, Done done);

}  // namespace undercroft::cli
