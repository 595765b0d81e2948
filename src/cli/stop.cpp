// SPDX-License-Identifier: Apache-2.0
#include "stop.hpp"

#include "cli/command_line.hpp"

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <utility>

namespace undercroft::cli {

namespace {

constexpr double longest_timeout_s = 1e6;

struct Arguments : MachineArguments {
    bool now = false;
    double timeout_s = 60;
};

int stop(const Arguments& arguments) {
    const std::string& name = arguments.machine;
    if (!(arguments.timeout_s >= 0 && arguments.timeout_s <= longest_timeout_s)) {
        refuse(arguments,
               Error{fmt::format("--timeout {}: not from 0 to {}", arguments.timeout_s, longest_timeout_s)});
        return exit_usage;
    }
    std::string late = arguments.now
                           ? fmt::format("machine '{}' has not ended within {} s", name, arguments.timeout_s)
                           : fmt::format(
                                 "machine '{0}' runs on {1} s after its power button was pressed; "
                                 "'undercroft stop --now {0}' ends it",
                                 name, arguments.timeout_s);
    auto time = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::duration<double>{arguments.timeout_s});
    return ask_about_machine(arguments, {.verb = control::Verb::Stop, .machine = {}, .now = arguments.now},
                             {.time = time, .error = late});
}

}  // namespace

void add_stop(CLI::App& app, Done done) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App& verb = add_machine_verb(
        app, "stop", "Press a machine's power button, and wait until its guest has powered off", *arguments);
    verb.add_flag("--now", arguments->now, "end it at once, whatever its guest does, as Ctrl-A x does");
    verb.add_option("--timeout", arguments->timeout_s,
                    "how long to wait; a guest that has not powered off then runs on")
        ->type_name("SECONDS")
        ->capture_default_str();
    verb.final_callback([arguments, done = std::move(done)] { done(stop(*arguments)); });
}

}  // namespace undercroft::cli
