// SPDX-License-Identifier: Apache-2.0
#include "resume.hpp"

#include <CLI/CLI.hpp>

#include <utility>

namespace undercroft::cli {

void add_resume(CLI::App& app, Done done) {
    auto arguments = std::make_shared<MachineArguments>();
    CLI::App& verb = add_machine_verb(app, "resume", "Let a paused machine go on", *arguments);
    verb.final_callback([arguments, done = std::move(done)] {
        done(ask_about_machine(*arguments, {.verb = control::Verb::Resume, .machine = {}}));
    });
}

}  // namespace undercroft::cli
