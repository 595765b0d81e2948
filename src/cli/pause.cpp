// SPDX-License-Identifier: Apache-2.0
#include "pause.hpp"

#include <CLI/CLI.hpp>

#include <utility>

namespace undercroft::cli {

void add_pause(CLI::App& app, Done done) {
    auto arguments = std::make_shared<MachineArguments>();
    CLI::App& verb =
        add_machine_verb(app, "pause", "Let a machine stand still (its clocks go on)", *arguments);
    verb.final_callback([arguments, done = std::move(done)] {
        done(ask_about_machine(*arguments, {.verb = control::Verb::Pause, .machine = {}}));
    });
}

}  // namespace undercroft::cli
