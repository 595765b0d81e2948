// SPDX-License-Identifier: Apache-2.0
#include "exec.hpp"

#include "base/log.hpp"
#include "cli/command_line.hpp"
#include "exec/exec.hpp"
#include "machine/memory_size.hpp"
#include "monitor/settings.hpp"

#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace undercroft::cli {
namespace {

constexpr const char* examples = R"(
Examples:
  undercroft exec -- make test
  undercroft exec --kernel arch/x86/boot/bzImage -- dmesg
  undercroft exec --cpus 2 --memory 2G --env LANG=C -- sh -c 'uname -a; rm -rf /etc; ls /'
  generate | undercroft exec -- sort > sorted

The machine's root is the host's, and changes to it are forgotten at the end; the working folder is the
host's own. The command is the guest's root user. Exit status: the command's, 128 + N if signal N killed it,
127 if there is no such command, 126 if it cannot be executed, 125 if the machine failed, 2 for wrong usage.)";

struct Arguments {
    std::vector<std::string> command;
    std::vector<std::string> variables;
    std::string kernel;
    std::string modules;
    std::string root = "/";
    std::string memory = "1G";
    unsigned processors = 1;
    bool read_only = false;
    bool verbose = false;
};

Result<ExecOptions> options_of(const Arguments& arguments) {
    ExecOptions options;
    std::error_code error;
    auto folder = std::filesystem::current_path(error);
    if (error) return Error{"working folder: " + error.message()};
    auto memory = parse_memory_size(arguments.memory);
    if (!memory) return memory.error();
    auto processors = processor_count(arguments.processors);
    if (!processors) return Error{"--cpus " + processors.error().message};
    for (char** variable = environ; *variable != nullptr; ++variable)
        options.environment.emplace_back(*variable);
    for (const std::string& variable : arguments.variables) {
        std::size_t name = variable.find('=');
        if (name == 0 || name == std::string::npos) return Error{"--env '" + variable + "': not NAME=VALUE"};
        std::erase_if(options.environment, [&](const std::string& other) {
            return other.compare(0, name + 1, variable, 0, name + 1) == 0;
        });
        options.environment.push_back(variable);
    }
    options.command = arguments.command;
    options.root = arguments.root;
    options.folder = folder.string();
    options.shared = folder != "/";  // which the root is already
    if (arguments.read_only) options.access = FolderAccess::ReadOnly;
    options.kernel = arguments.kernel;
    options.modules = arguments.modules;
    options.machine.memory = *memory;
    options.machine.processors = *processors;
    options.verbose = arguments.verbose;
    return options;
}

int exec(const Arguments& arguments) {
    set_log_level(LogLevel::Warn);
    auto refuse = [](const Error& error) {
        std::fprintf(stderr, "undercroft: %s\n", error.message.c_str());
        return exit_usage;
    };
    auto options = options_of(arguments);
    if (!options) return refuse(options.error());
    auto status = exec_in_machine(*std::move(options));
    return status ? *status : refuse(status.error());
}

}  // namespace

void add_exec(CLI::App& app, std::function<void(int)> done) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App& verb =
        *app.add_subcommand("exec", "Run a command in a machine of its own, on the host's files");
    verb.footer(examples);
    verb.add_option("command", arguments->command, "the command and its arguments; put -- before it")
        ->type_name("COMMAND")
        ->required();
    verb.add_option("--kernel", arguments->kernel,
                    "the kernel's file; without it one that ./run has fetched, or\nthe host's own in /boot")
        ->type_name("FILE");
    verb.add_option("--modules", arguments->modules,
                    "the folder of its modules.dep; without it lib/modules/RELEASE\nbeside it or of the host")
        ->type_name("FOLDER");
    verb.add_option("--root", arguments->root, "the folder that is the command's root, which is only read")
        ->type_name("FOLDER")
        ->capture_default_str();
    verb.add_option("--memory", arguments->memory, "size of the machine's memory")
        ->type_name("SIZE")
        ->capture_default_str();
    verb.add_option("--cpus", arguments->processors, "how many virtual processors it has: 1 to 64")
        ->type_name("N")
        ->capture_default_str();
    verb.add_option("--env", arguments->variables,
                    "a variable besides those of this environment, or instead of one")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
    verb.add_flag("--read-only", arguments->read_only, "the working folder may not be changed");
    verb.add_flag("--verbose", arguments->verbose, "show the kernel's messages on standard error");
    verb.final_callback([arguments, done = std::move(done)] { done(exec(*arguments)); });
}

}  // namespace undercroft::cli
