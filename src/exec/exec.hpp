// SPDX-License-Identifier: Apache-2.0
// Runs one command in a machine of its own: with the host's files as its root, which it may change without
// the host noticing, and the folder it is called in, which it shares with the host (docs/exec.md).

#pragma once

#include "base/result.hpp"
#include "machine/guest_image.hpp"

#include <string>
#include <vector>

namespace undercroft {

// Statuses of our own, as env(1) and others have them.
inline constexpr int exec_machine_failed = 125;

struct ExecOptions {
    std::vector<std::string> command;
    std::vector<std::string> environment;  // NAME=VALUE, all of it
    std::string root = "/";
    std::string folder;                             // where the command begins: the same path in the machine
    bool shared = true;                             // `folder` is the host's
    FolderAccess access = FolderAccess::ReadWrite;  // to it
    std::string kernel;                             // see find_kernel()
    std::string modules;
    MachineConfig machine;  // memory, processors, engine; the rest is filled in
    bool verbose = false;   // show what the kernel prints
};

// The command's status. Errors: what the user gave cannot be used; nothing was run.
Result<int> exec_in_machine(ExecOptions options);

}  // namespace undercroft
