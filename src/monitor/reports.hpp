// SPDX-License-Identifier: Apache-2.0
// What is asked of the monitor, and what it says when all is over.

#pragma once

#include "base/result.hpp"
#include "machine/guest_image.hpp"
#include "machine/machine.hpp"
#include "machine/statistics.hpp"
#include "trace/trace.hpp"

#include <optional>
#include <string>
#include <vector>

namespace undercroft {

struct TenantOptions {
    std::string name = "machine";
    MachineConfig machine;
    std::string log_name;  // log lines name it so; empty: they need not
    std::string console = "stdio";
    std::string log_file;  // path of a file that gets all of the console's output, too; empty: none
    bool reboot = false;   // start again when the guest resets or triple-faults
};

struct TenantReport {
    std::string name;
    Outcome outcome = Outcome::PoweredOff;
    std::string engine_failure;  // of Outcome::EnginesDiffer, StateLost: a line that says it, and a report
    std::optional<Error> console_failure;  // the machine was stopped because of it
    std::optional<Error> reboot_failure;   // it could not start again: its kernel is gone, for one
    Statistics statistics;
    std::vector<Trace> traces;  // of its last boot, if something was to be recorded
};

struct MonitorReport {
    int signal = 0;  // the one that asked us to end, or zero. It stays blocked; the caller may raise it again
    std::vector<TenantReport> machines;
};

}  // namespace undercroft
