// SPDX-License-Identifier: Apache-2.0
// The verb `run`: boots a kernel.

#pragma once

#include "monitor/monitor.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace undercroft::cli {

struct RunArguments {
    std::vector<std::string> files;            // of machines; without one, what follows describes one machine
    std::vector<std::string> machine_options;  // those of what follows that were given
    std::string name = "machine";
    std::string kernel;
    std::string initrd;
    std::string append;
    std::string memory = "512M";
    unsigned processors = 1;
    std::optional<unsigned> cap;
    std::vector<std::string> disks;   // FILE or FILE,ro
    std::vector<std::string> shares;  // FOLDER[,tag=NAME][,ro]
    std::vector<std::string> networks;
    std::vector<std::string> channels;
    std::vector<std::string> ports;
    std::string engine = "translate";
    std::uint64_t lockstep_every = 0;
    bool no_direct = false;
    std::string console = "stdio";
    std::string control;
    std::optional<unsigned> host_processors;
    std::string pool;
    std::string swap_folder = "/var/tmp";
    std::string log = "warn";
    bool no_sharing = false;
    std::string paravirtual = "none";
    std::string trace;
    std::string trace_format = "table";
    std::string trace_file;
    bool balloon = false;
    bool entropy = false;
    std::string vsock;
    bool reboot = false;
    bool statistics = false;
    bool json = false;
    bool perf_map = false;
};

// Declares the verb; `chosen` is called when the line was parsed and named it.
void add_run(CLI::App& app, RunArguments& arguments, std::function<void()> chosen);

// What the arguments mean, or which of them is wrong and why.
Result<MonitorOptions> options_of(const RunArguments& arguments);

// The exit status.
int run(const RunArguments& arguments);

}  // namespace undercroft::cli
