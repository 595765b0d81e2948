// SPDX-License-Identifier: Apache-2.0
// The verb `exec`: runs a command in a machine of its own.

#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace undercroft::cli {

// Declares the verb; `done` gets the exit status when the line was parsed and named it.
void add_exec(CLI::App& app, std::function<void(int)> done);

}  // namespace undercroft::cli
