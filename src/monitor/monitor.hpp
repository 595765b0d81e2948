// SPDX-License-Identifier: Apache-2.0
// The monitor: machines in one process, from the user's options to the last one's end, with everything put
// back in order.
//
// The caller's thread runs the event loop (consoles, timers, signals); vCPUs run on threads of their own
// (machine/vcpu_threads.hpp).

#pragma once

#include "base/result.hpp"
#include "monitor/reports.hpp"

namespace undercroft {

struct MonitorOptions {
    std::vector<TenantOptions> machines;  // one at least, of different names
};

// Blocks nearly all signals for good: call it before there are other threads, from a program that exits
// afterwards. Errors: what the user gave cannot be used. Nothing has changed then.
Result<MonitorReport> run_machines(MonitorOptions options);

}  // namespace undercroft
