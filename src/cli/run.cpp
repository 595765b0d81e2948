// SPDX-License-Identifier: Apache-2.0
#include "run.hpp"

#include "base/log.hpp"
#include "cli/command_line.hpp"
#include "cli/memory_size.hpp"
#include "cli/statistics_output.hpp"
#include "engine/translate/runtime/perf_map.hpp"
#include "machine/layout.hpp"
#include "machine/signals.hpp"

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <utility>

namespace undercroft::cli {
namespace {

constexpr const char* examples = R"(
Examples:
  undercroft run --kernel vmlinuz --initrd initramfs.cpio
  undercroft run --kernel vmlinuz --initrd initramfs.cpio --memory 4G --append 'quiet loglevel=3'
  undercroft run --kernel vmlinuz --initrd initramfs.cpio --disk root.img --disk tools.img,ro
  undercroft run --kernel vmlinuz --console unix:/tmp/console --stats

Keys on a terminal: Ctrl-A x ends the machine, Ctrl-A c shows its status, Ctrl-A Ctrl-A sends Ctrl-A.
Exit status: 0 the guest powered off or was ended by Ctrl-A x, 1 the host failed or the engines differ,
2 wrong usage or input, 3 the guest reset or triple-faulted.)";

int exit_status(const RunReport& report) {
    if (report.signal != 0) signals::die_of(report.signal);
    if (report.console_failure) {
        std::fprintf(stderr, "undercroft: %s\n", report.console_failure->message.c_str());
        return exit_host;
    }
    switch (report.outcome) {
        case Outcome::PoweredOff:
        case Outcome::Stopped: return exit_success;
        case Outcome::Reset:
        case Outcome::TripleFault: return exit_reset;
        case Outcome::EnginesDiffer:
            std::fprintf(stderr, "undercroft: %s\n", report.engine_failure.c_str());
            return exit_host;
    }
    return exit_host;
}

// A comma ends the file's name, so that more can be said of a disk.
Result<std::vector<DiskChoice>> disks_of(const RunArguments& arguments) {
    std::vector<DiskChoice> disks;
    for (const std::string& text : arguments.disks) {
        std::size_t comma = text.find(',');
        DiskChoice disk{.path = text.substr(0, comma)};
        if (comma != std::string::npos) {
            std::string word = text.substr(comma + 1);
            if (word != "ro") return Error{fmt::format("--disk {}: '{}' is not 'ro'", text, word)};
            disk.access = DiskAccess::ReadOnly;
        }
        disks.push_back(std::move(disk));
    }
    if (disks.size() > layout::virtio_slot_count)
        return Error{fmt::format("--disk: at most {} of them", layout::virtio_slot_count)};
    if (!disks.empty() && arguments.engine == "lockstep")
        return Error{"--engine lockstep cannot follow what disks write to memory: leave out --disk"};
    return disks;
}

}  // namespace

void add_run(CLI::App& app, RunArguments& arguments, std::function<void()> chosen) {
    CLI::App* verb = app.add_subcommand("run", "Boot a Linux kernel (bzImage or 64-bit ELF vmlinux)");
    verb->footer(examples);
    verb->add_option("--kernel", arguments.kernel, "the kernel's file")->type_name("FILE");
    verb->add_option("--initrd", arguments.initrd, "an initial RAM disk")->type_name("FILE");
    verb->add_option("--append", arguments.append,
                     std::string{"more for the kernel's command line, after\n'"} + default_command_line + "'")
        ->type_name("TEXT");
    verb->add_option("--memory", arguments.memory, "size of the guest's memory: 512M, 4G …")
        ->type_name("SIZE")
        ->capture_default_str();
    verb->add_option("--cpus", arguments.processors, "how many virtual processors the guest has: 1 to 64")
        ->type_name("N")
        ->capture_default_str();
    verb->add_option(
            "--disk", arguments.disks,
            "a disk (virtio): a raw file or a block device; ',ro' forbids writing.\nMay be given again "
            "for more")
        ->type_name("FILE[,ro]")
        ->allow_extra_args(false);
    verb->add_option("--engine", arguments.engine,
                     "how guest code runs: translate, step (one instruction at a\ntime, slow), or lockstep "
                     "(both, compared at every block)")
        ->type_name("NAME")
        ->capture_default_str();
    verb->add_option(
            "--lockstep-every", arguments.lockstep_every,
            "with --engine lockstep: compare after so many instructions,\nwith blocks linked as usual")
        ->type_name("N");
    verb->add_option("--console", arguments.console, "stdio, file:PATH (output only) or unix:PATH (a socket)")
        ->type_name("WHERE")
        ->capture_default_str();
    verb->add_option("--log", arguments.log, "error, warn, info, debug or trace")
        ->type_name("LEVEL")
        ->capture_default_str();
    verb->add_flag("--reboot", arguments.reboot, "start again when the guest resets");
    verb->add_flag("--stats", arguments.statistics, "show figures on standard error at the end");
    verb->add_flag("--json", arguments.json, "show them as JSON");
    verb->add_flag("--perf-map", arguments.perf_map,
                   "write /tmp/perf-PID.map, by which perf knows the guest's code");
    verb->final_callback(std::move(chosen));
}

Result<RunOptions> options_of(const RunArguments& arguments) {
    RunOptions options;
    if (arguments.kernel.empty()) return Error{"no kernel: give one with --kernel FILE"};
    auto memory = parse_memory_size(arguments.memory);
    if (!memory) return memory.error();
    if (arguments.engine == "step") {
        options.machine.engine = EngineKind::Step;
    } else if (arguments.engine == "lockstep") {
        options.machine.engine = EngineKind::Lockstep;
        options.machine.engine.lockstep_every = arguments.lockstep_every;
    } else if (arguments.engine != "translate") {
        return Error{"engine '" + arguments.engine + "': not one of translate, step, lockstep"};
    }
    if (arguments.processors < 1 || arguments.processors > layout::max_processors)
        return Error{
            fmt::format("--cpus {}: not from 1 to {}", arguments.processors, layout::max_processors)};
    if (arguments.engine == "lockstep" && arguments.processors > 1)
        return Error{"--engine lockstep follows one virtual processor only: leave out --cpus"};
    options.machine.processors = arguments.processors;
    auto disks = disks_of(arguments);
    if (!disks) return disks.error();
    options.machine.disks = *std::move(disks);
    options.machine.kernel = arguments.kernel;
    options.machine.initrd = arguments.initrd;
    options.machine.memory = *memory;
    options.machine.command_line = default_command_line;
    if (!arguments.append.empty()) options.machine.command_line += " " + arguments.append;
    options.console = arguments.console;
    options.reboot = arguments.reboot;
    return options;
}

int run(const RunArguments& arguments) {
    auto level = parse_log_level(arguments.log);
    auto refuse = [](const std::string& reason) {
        std::fprintf(stderr, "undercroft: %s\n", reason.c_str());
        return exit_usage;
    };
    if (!level)
        return refuse("log level '" + arguments.log + "': not one of error, warn, info, debug, trace");
    set_log_level(*level);
    auto options = options_of(arguments);
    if (!options) return refuse(options.error().message);
    if (arguments.perf_map) {
        if (auto opened = translate::PerfMap::open(); !opened) return refuse(opened.error().message);
    }
    auto report = run_to_end(*options);
    if (!report) return refuse(report.error().message);
    if (arguments.json) {
        print_json(stderr, report->statistics);
    } else if (arguments.statistics) {
        print_table(stderr, report->statistics);
    }
    return exit_status(*report);
}

}  // namespace undercroft::cli
