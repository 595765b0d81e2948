// SPDX-License-Identifier: Apache-2.0
#include "machine_verb.hpp"

#include "cli/command_line.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <utility>

namespace undercroft::cli {

void add_control_options(CLI::App& verb, ControlArguments& arguments) {
    verb.add_option("--control", arguments.control,
                    "the control socket of one monitor, instead of all this user's")
        ->type_name("PATH");
    verb.add_flag("--json", arguments.json, "answer in JSON, on standard output");
}

CLI::App& add_machine_verb(CLI::App& app, const std::string& name, const std::string& description,
                           MachineArguments& arguments) {
    CLI::App* verb = app.add_subcommand(name, description);
    verb->add_option("machine", arguments.machine, "its name")->type_name("NAME")->required();
    add_control_options(*verb, arguments);
    return *verb;
}

int ask_about_machine(const MachineArguments& arguments, control::Request request,
                      const control::Patience& patience) {
    auto monitor = control::monitor_of(arguments.machine, arguments.path());
    if (!monitor) return refuse(arguments, monitor.error());
    request.machine = arguments.machine;
    auto reply = monitor->ask(request, patience);
    if (!reply) return refuse(arguments, reply.error());
    if (arguments.json) std::fputs(control::line_of(*reply).c_str(), stdout);
    return exit_success;
}

int refuse(const ControlArguments& arguments, const Error& error) {
    if (arguments.json) {
        std::fputs(control::line_of(control::Reply{.error = error.message, .machines = {}}).c_str(), stdout);
    } else {
        std::fprintf(stderr, "undercroft: %s\n", error.message.c_str());
    }
    return exit_host;
}

}  // namespace undercroft::cli
