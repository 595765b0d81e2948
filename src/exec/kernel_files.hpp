// SPDX-License-Identifier: Apache-2.0
// The kernel that a command's machine boots, and those of its modules that the machine needs.

#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft {

struct KernelFiles {
    std::string kernel;                // path
    std::vector<std::string> modules;  // paths, in the order of loading
};

// `kernel` empty: one that ./run has fetched, or the host's own. `modules` empty: the folder
// lib/modules/RELEASE beside the kernel's file, beside its folder, or of the host, whichever is there; a
// kernel that has what it needs built in has none.
Result<KernelFiles> find_kernel(const std::string& kernel, const std::string& modules);

// What a bzImage says it is, as `uname -r` does; empty if it says nothing.
std::string kernel_release(const std::vector<std::byte>& image);

// The wanted ones and all that they need, by a modules.dep; relative paths.
std::vector<std::string> module_order(std::string_view dependencies,
                                      const std::vector<std::string_view>& wanted);

}  // namespace undercroft
