// SPDX-License-Identifier: Apache-2.0
// The command line: which verb, and errors as one line on standard error with exit status 2. One file per
// verb.

#pragma once

namespace undercroft::cli {

// Exit statuses, part of the interface (docs/machine.md). A signal that ended us is raised again instead.
inline constexpr int exit_success = 0;  // the guest powered off, or the user ended it
inline constexpr int exit_host = 1;     // the host failed meanwhile: the console is gone
inline constexpr int exit_usage = 2;    // what the user gave cannot be used
inline constexpr int exit_reset = 3;    // the guest reset or triple-faulted

// The program, from its arguments to its exit status.
int start(int argc, char** argv);

}  // namespace undercroft::cli
