// SPDX-License-Identifier: Apache-2.0
// Lifecycle: from the user's options to the guest's end, with everything put back in order.
//
// The caller's thread runs the event loop (console, timers, signals), and each vCPU has one of its own. Guest
// code runs with the guest's stack pointer in the host's, so no signal may be delivered on a vCPU's thread
// but those its own instructions raise, and these on an alternate stack.

#pragma once

#include "base/result.hpp"
#include "machine/guest_image.hpp"
#include "machine/machine.hpp"
#include "machine/statistics.hpp"

#include <optional>
#include <string>

namespace undercroft {

struct RunOptions {
    MachineConfig machine;
    std::string console = "stdio";
    bool reboot = false;  // start again when the guest resets or triple-faults
};

struct RunReport {
    Outcome outcome = Outcome::PoweredOff;
    int signal = 0;  // the one that asked us to end, or zero. It stays blocked; the caller may raise it again
    std::string engine_failure;            // of Outcome::EnginesDiffer: a line that says it, and a report
    std::optional<Error> console_failure;  // the machine was stopped because of it
    Statistics statistics;
};

// Blocks nearly all signals for good: call it before there are other threads, from a program that exits
// afterwards. Errors: what the user gave cannot be used. Nothing has changed then.
Result<RunReport> run_to_end(const RunOptions& options);

}  // namespace undercroft
