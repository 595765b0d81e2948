// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include "cli/balloon.hpp"
#include "cli/console.hpp"
#include "cli/exec.hpp"
#include "cli/pause.hpp"
#include "cli/ps.hpp"
#include "cli/resume.hpp"
#include "cli/run.hpp"
#include "cli/stop.hpp"
#include "cli/top.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>

namespace undercroft::cli {
namespace {

// CLI11's messages may have several lines; the first says what is wrong.
std::string first_line(std::string message) {
    message.erase(message.find_last_not_of("\n ") + 1);
    if (auto end = message.find('\n'); end != std::string::npos) message.resize(end);
    return message;
}

int complain(const CLI::App& app, const std::string& message) {
    auto verbs = app.get_subcommands();
    std::string verb = verbs.empty() ? "" : verbs.front()->get_name() + " ";
    std::fprintf(stderr, "undercroft: %s (see 'undercroft %s--help')\n", message.c_str(), verb.c_str());
    return exit_usage;
}

}  // namespace

int start(int argc, char** argv) {
    CLI::App app{"Undercroft runs an unmodified 64-bit Linux in an ordinary process: no /dev/kvm, no root.",
                 "undercroft"};
    app.set_version_flag("--version", UNDERCROFT_VERSION);
    app.require_subcommand(0, 1);
    app.get_formatter()->label("SUBCOMMAND", "COMMAND");
    app.footer(
        "'undercroft COMMAND --help' tells more of one. Commands find machines by their names, in whichever "
        "process\n"
        "of this user they run: 'undercroft ps' lists them.");
    app.failure_message([](const CLI::App*, const CLI::Error& error) { return std::string{error.what()}; });
    int status = exit_success;
    RunArguments arguments;
    add_run(app, arguments, [&] { status = run(arguments); });
    for (auto add : {add_ps, add_top, add_pause, add_resume, add_stop, add_console, add_balloon})
        add(app, [&status](int of_verb) { status = of_verb; });
    add_exec(app, [&status](int of_command) { status = of_command; });
    for (CLI::App* verb : app.get_subcommands({})) verb->group("Commands");
    try {
        app.parse(argc, argv);
        if (app.get_subcommands().empty()) {
            return complain(app, "no command; 'undercroft run --kernel FILE' boots a kernel");
        }
    } catch (const CLI::CallForHelp& help) {
        return app.exit(help);
    } catch (const CLI::CallForVersion& version) {
        return app.exit(version);
    } catch (const CLI::ExtrasError&) {
        std::string word = app.remaining(true).front();
        return complain(app, app.get_subcommands().empty() ? "there is no command '" + word + "'"
                                                           : "'" + word + "' is not expected");
    } catch (const CLI::ParseError& error) {
        return complain(app, first_line(error.what()));
    }
    return status;
}

}  // namespace undercroft::cli
