// SPDX-License-Identifier: Apache-2.0
#include "balloon.hpp"

#include "cli/command_line.hpp"
#include "machine/memory_size.hpp"

#include <CLI/CLI.hpp>

#include <utility>

namespace undercroft::cli {

void add_balloon(CLI::App& app, Done done) {
    struct Arguments : MachineArguments {
        std::string size;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App& verb =
        add_machine_verb(app, "balloon", "Ask a machine to make do with less memory", *arguments);
    verb.add_option("size", arguments->size, "how much it shall use: 256M, 1G …")
        ->type_name("SIZE")
        ->required();
    verb.final_callback([arguments, done = std::move(done)] {
        auto bytes = parse_memory_size(arguments->size);
        if (!bytes) {
            refuse(*arguments, bytes.error());
            return done(exit_usage);
        }
        done(ask_about_machine(*arguments, {.verb = control::Verb::Balloon, .machine = {}, .bytes = *bytes}));
    });
}

}  // namespace undercroft::cli
