// SPDX-License-Identifier: Apache-2.0
// The monitor: machines in one process, from the user's options to the last one's end, with everything put
// back in order.
//
// The caller's thread runs the event loop (consoles, timers, signals); all vCPUs run on the processors of one
// scheduler. Guest code runs with the guest's stack pointer in the host's, so no signal may be delivered on
// those threads but what their own instructions raise, and these on an alternate stack.

#pragma once

#include "base/result.hpp"
#include "memory/page_sharing.hpp"
#include "monitor/reports.hpp"
#include "schedule/scheduler.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace undercroft {

struct MonitorOptions {
    std::vector<TenantOptions> machines;  // one at least, of different names
    // The control socket's path; "none"; or empty: in this user's folder (control/directory.hpp), if
    // possible.
    std::string control;
    unsigned processors = host_processors();  // threads of the host that run vCPUs, at most
    // Bytes of memory that all machines have at most; none: what the host has. Pages without room are kept in
    // a file in a folder.
    std::optional<std::uint64_t> pool;
    std::string swap_folder;
    EqualPages equal_pages = EqualPages::Share;
    // Gets the signals that would end the machines, and SIGWINCH, on the caller's thread. True: they need
    // not.
    std::function<bool(int signal)> on_signal = [](int) { return false; };
};

// Blocks nearly all signals for good: call it before there are other threads, from a program that exits
// afterwards. Errors: what the user gave cannot be used. Nothing has changed then.
Result<MonitorReport> run_machines(MonitorOptions options);

}  // namespace undercroft
