// SPDX-License-Identifier: Apache-2.0
// A machine's description in a file (TOML 1.0); docs/monitor.md lists the keys.

#pragma once

#include "base/result.hpp"
#include "monitor/reports.hpp"

#include <string>

namespace undercroft {

// Paths in the file are relative to its folder. Errors are of the form "a.toml:3: reason".
Result<TenantOptions> read_machine_file(const std::string& path);

}  // namespace undercroft
