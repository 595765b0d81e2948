// SPDX-License-Identifier: Apache-2.0
#include "ps.hpp"

#include "cli/command_line.hpp"
#include "cli/machine_table.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <utility>

namespace undercroft::cli {

void add_ps(CLI::App& app, Done done) {
    auto arguments = std::make_shared<ControlArguments>();
    CLI::App* verb = app.add_subcommand("ps", "List the machines of all monitors of this user");
    add_control_options(*verb, *arguments);
    verb->final_callback([arguments, done = std::move(done)] {
        std::vector<control::Reply> monitors = look(arguments->path());
        std::vector<MachineRow> rows = rows_of(monitors);
        std::fputs((arguments->json ? json_of(rows, monitors) : table_of(rows, Columns::Few)).c_str(),
                   stdout);
        bool nobody = monitors.empty() && arguments->path();
        done(nobody ? exit_host : exit_success);
    });
}

}  // namespace undercroft::cli
