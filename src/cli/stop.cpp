// SPDX-License-Identifier: Apache-2.0
#include "stop.hpp"

#include <CLI/CLI.hpp>

#include <utility>

namespace undercroft::cli {

void add_stop(CLI::App& app, Done done) {
    struct Arguments : MachineArguments {
        bool now = false;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App& verb = add_machine_verb(app, "stop", "End a machine", *arguments);
    verb.add_flag("--now", arguments->now,
                  "without asking the guest first (which takes no such request yet: it is always so)");
    verb.final_callback([arguments, done = std::move(done)] {
        done(ask_about_machine(*arguments,
                               {.verb = control::Verb::Stop, .machine = {}, .now = arguments->now}));
    });
}

}  // namespace undercroft::cli
