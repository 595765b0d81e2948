// SPDX-License-Identifier: Apache-2.0
#include "run.hpp"

#include "base/log.hpp"
#include "cli/command_line.hpp"
#include "cli/statistics_output.hpp"
#include "cli/trace_output.hpp"
#include "engine/translate/runtime/perf_map.hpp"
#include "machine/memory_size.hpp"
#include "machine/signals.hpp"
#include "monitor/machine_file.hpp"
#include "monitor/settings.hpp"

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>
#include <utility>

namespace undercroft::cli {
namespace {

constexpr const char* examples = R"(
Examples:
  undercroft run --kernel vmlinuz --initrd initramfs.cpio
  undercroft run --kernel vmlinuz --initrd initramfs.cpio --memory 4G --append 'quiet loglevel=3'
  undercroft run --kernel vmlinuz --initrd initramfs.cpio --disk root.img --disk tools.img,ro
  undercroft run --kernel vmlinuz --initrd initramfs.cpio --net user --port 8080:80
  undercroft run --kernel vmlinuz --console unix:/tmp/console --stats
  undercroft run web.toml database.toml

Keys on a terminal: Ctrl-A x ends the machine, Ctrl-A c shows its status, Ctrl-A h lists the keys, Ctrl-A Ctrl-A
sends Ctrl-A. With several machines Ctrl-A 1 to 9 choose one, Ctrl-A 0 shows all.
Exit status: 0 the guest powered off or the user ended it, 1 the host failed or the engines differ,
2 wrong usage or input, 3 the guest reset or triple-faulted. Of several machines the worst counts:
1 before 2 before 3 before 0.)";

int exit_status(const TenantReport& report, bool one_of_several) {
    auto failed = [&](const std::string& message, int status) {
        std::string whose = one_of_several ? report.name + ": " : "";
        std::fprintf(stderr, "undercroft: %s%s\n", whose.c_str(), message.c_str());
        return status;
    };
    if (report.console_failure) return failed(report.console_failure->message, exit_host);
    if (report.reboot_failure) return failed(report.reboot_failure->message, exit_usage);
    switch (report.outcome) {
        case Outcome::PoweredOff:
        case Outcome::Stopped: return exit_success;
        case Outcome::Reset:
        case Outcome::TripleFault: return exit_reset;
        case Outcome::EnginesDiffer:
        case Outcome::StateLost: return failed(report.engine_failure, exit_host);
    }
    return exit_host;
}

// Worse ones come later: what counts when several machines ended in different ways.
int severity(int status) {
    switch (status) {
        case exit_success: return 0;
        case exit_reset: return 1;
        case exit_usage: return 2;
        default: return 3;
    }
}

constexpr unsigned most_host_processors = 1024;

Result<TenantOptions> machine_of(const RunArguments& arguments) {
    TenantOptions options;
    if (arguments.kernel.empty()) return Error{"no kernel: give one with --kernel FILE"};
    auto name = machine_name(arguments.name);
    if (!name) return name.error();
    auto memory = parse_memory_size(arguments.memory);
    if (!memory) return memory.error();
    auto engine = engine_named(arguments.engine);
    if (!engine) return engine.error();
    auto processors = processor_count(arguments.processors);
    if (!processors) return Error{"--cpus " + processors.error().message};
    if (arguments.cap) {
        auto cap = processor_cap(*arguments.cap);
        if (!cap) return Error{"--cap " + cap.error().message};
        options.machine.share.cap_percent = *cap;
    }
    for (const std::string& text : arguments.disks) {
        auto disk = disk_named(text);
        if (!disk) return disk.error();
        options.machine.disks.push_back(*std::move(disk));
    }
    for (const std::string& text : arguments.networks) {
        auto network = network_named(text.empty() ? "user" : text);
        if (!network) return network.error();
        options.machine.networks.push_back(*std::move(network));
    }
    if (auto added = add_ports(arguments.ports, options.machine); !added) return added.error();
    for (const std::string& text : arguments.shares) {
        auto folder = folder_named(text);
        if (!folder) return folder.error();
        options.machine.folders.push_back(*std::move(folder));
    }
    for (const std::string& text : arguments.channels) {
        auto channel = channel_named(text);
        if (!channel) return channel.error();
        options.machine.channels.push_back(*std::move(channel));
    }
    if (!arguments.vsock.empty()) {
        auto vsock = vsock_named(arguments.vsock);
        if (!vsock) return vsock.error();
        options.machine.vsock = *std::move(vsock);
    }
    auto paravirtual = paravirtual_features(arguments.paravirtual);
    if (!paravirtual) return Error{"--pv: " + paravirtual.error().message};
    options.machine.paravirtual = *paravirtual;
    options.name = *std::move(name);
    options.machine.engine = *engine;
    if (*engine == EngineKind::Lockstep) options.machine.engine.lockstep_every = arguments.lockstep_every;
    options.machine.engine.direct = !arguments.no_direct;
    options.machine.processors = *processors;
    options.machine.kernel = arguments.kernel;
    options.machine.initrd = arguments.initrd;
    options.machine.memory = *memory;
    options.machine.command_line = default_command_line;
    if (!arguments.append.empty()) options.machine.command_line += " " + arguments.append;
    options.console = arguments.console;
    options.machine.balloon = arguments.balloon;
    options.machine.entropy = arguments.entropy;
    options.reboot = arguments.reboot;
    if (auto checked = check(options.machine); !checked) return checked.error();
    return options;
}

// Returns them.
std::vector<const CLI::Option*> add_machine_options(CLI::App& verb, RunArguments& arguments) {
    std::size_t others = verb.get_options().size();
    verb.add_option("--name", arguments.name, "what the machine is called")
        ->type_name("NAME")
        ->capture_default_str();
    verb.add_option("--kernel", arguments.kernel, "the kernel's file")->type_name("FILE");
    verb.add_option("--initrd", arguments.initrd, "an initial RAM disk")->type_name("FILE");
    verb.add_option("--append", arguments.append,
                    "more for the kernel's command line, after what it always says\n(docs/machine.md)")
        ->type_name("TEXT");
    verb.add_option("--memory", arguments.memory, "size of the guest's memory: 512M, 4G …")
        ->type_name("SIZE")
        ->capture_default_str();
    verb.add_option("--cpus", arguments.processors, "how many virtual processors the guest has: 1 to 64")
        ->type_name("N")
        ->capture_default_str();
    verb.add_option("--cap", arguments.cap, "percent of one host processor that it gets at most")
        ->type_name("PERCENT");
    verb.add_option("--disk", arguments.disks,
                    "a disk (virtio): a raw file, a block device, or a qcow2 image (as its\nname ends, or "
                    "'format=' says). "
                    "',ro' forbids writing; ',overlay=CHANGES.qcow2'\nkeeps what the guest writes there, "
                    "',overlay=discard' forgets it at the end.\nMay be given again for more")
        ->type_name("FILE[,ro][,format=raw|qcow2][,overlay=FILE|discard]")
        ->allow_extra_args(false);
    verb.add_option("--net", arguments.networks,
                    "a network device (virtio): user (behind the host's sockets, the\ndefault kind), "
                    "tap:NAME (an interface of the host's) or switch:NAME\n(with other machines of this "
                    "process); see docs/network.md.\nMay be given again for more")
        ->type_name("KIND")
        ->expected(0, 1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
    verb.add_option("--port", arguments.ports,
                    "passes a port of the host's on to the guest's, with --net user.\nMay be given again for "
                    "more")
        ->type_name("[udp:][ADDRESS:]HOST:GUEST")
        ->allow_extra_args(false);
    verb.add_option(
            "--share", arguments.shares,
            "a folder of the host (virtiofs), which the guest mounts by its tag,\n'share' unless named; "
            "',ro' forbids writing. May be given again for more")
        ->type_name("FOLDER[,tag=NAME][,ro]")
        ->allow_extra_args(false);
    verb.add_option(
            "--channel", arguments.channels,
            "a port of a virtio console, which the guest finds by its name; on the\nhost it is a socket for "
            "one client at a time, or a file that takes\nwhat comes. May be given again for more")
        ->type_name("NAME=unix:PATH|file:PATH")
        ->allow_extra_args(false);
    verb.add_option("--engine", arguments.engine,
                    "how guest code runs: translate; direct (the same, but all programs\nare executed as "
                    "they are, not only what "
                    "computes: to test that);\nstep (one instruction at a time, slow); or lockstep "
                    "(translated and by\nsteps, "
                    "compared at every block)")
        ->type_name("NAME")
        ->capture_default_str();
    verb.add_option(
            "--lockstep-every", arguments.lockstep_every,
            "with --engine lockstep: compare after so many instructions,\nwith blocks linked as usual")
        ->type_name("N");
    verb.add_flag("--no-direct", arguments.no_direct,
                  "programs that compute are translated like all else, instead of\nexecuted as they are in a "
                  "process of "
                  "their own (docs/direct.md)");
    verb.add_option("--console", arguments.console, "stdio, file:PATH (output only) or unix:PATH (a socket)")
        ->type_name("WHERE")
        ->capture_default_str();
    verb.add_option("--pv", arguments.paravirtual,
                    "what the guest is offered of KVM's paravirtual interface beside its clock:\nall, none, "
                    "steal-time, tlb-flush, with commas; '-' in front takes one away")
        ->type_name("NAMES")
        ->capture_default_str();
    verb.add_flag("--balloon", arguments.balloon,
                  "a balloon (virtio), by which 'undercroft balloon' takes memory from\nthe guest and gives "
                  "it back; it also "
                  "reports free memory");
    verb.add_flag("--entropy", arguments.entropy, "a source of random numbers (virtio): the host's");
    verb.add_option(
            "--vsock", arguments.vsock,
            "sockets between guest and host (virtio), behind Unix sockets at PATH and\nPATH_PORT; see "
            "docs/vsock.md")
        ->type_name("PATH[,cid=N]");
    verb.add_flag("--reboot", arguments.reboot, "start again when the guest resets");
    std::vector<const CLI::Option*> added;
    for (CLI::Option* option : verb.get_options()) {
        if (others > 0)
            --others;
        else
            added.push_back(option->group("Options that describe one machine"));
    }
    return added;
}

void add_trace_options(CLI::App& verb, RunArguments& arguments) {
    verb.add_option("--trace", arguments.trace,
                    "record the newest events of each vCPU and show them at the end: syscalls,\ntraps, "
                    "interrupts, switches, tlb, devices, hypercalls, processes or all, with\ncommas; or B.3, "
                    "B.4, B.6: that figure of the chapter, as it happened")
        ->type_name("KINDS");
    verb.add_option("--trace-format", arguments.trace_format,
                    "table, json (lines), or perfetto (for ui.perfetto.dev)")
        ->type_name("NAME")
        ->capture_default_str();
    verb.add_option("--trace-file", arguments.trace_file, "where to; without it, standard error")
        ->type_name("PATH");
}

}  // namespace

void add_run(CLI::App& app, RunArguments& arguments, std::function<void()> chosen) {
    CLI::App* verb =
        app.add_subcommand("run", "Boot a Linux kernel (bzImage or 64-bit ELF vmlinux), or several");
    verb->footer(examples);
    verb->add_option("file", arguments.files,
                     "descriptions of machines (TOML, see docs/monitor.md), in place of the\noptions that "
                     "describe one")
        ->type_name("FILE.toml");
    std::vector<const CLI::Option*> of_machine = add_machine_options(*verb, arguments);
    verb->add_option(
            "--control", arguments.control,
            "where the control socket is made, or none; without it, where\n'undercroft ps' and the like "
            "look")
        ->type_name("PATH");
    verb->add_option(
            "--processors", arguments.host_processors,
            "threads of the host on which the virtual processors of all machines\ntake turns; without it, as "
            "many as the host has processors")
        ->type_name("N");
    verb->add_option(
            "--pool", arguments.pool,
            "memory that all machines together take from the host at most; when they\nneed more, pages that "
            "they do not use go to a file")
        ->type_name("SIZE");
    verb->add_option("--swap", arguments.swap_folder, "with --pool: the folder for that file")
        ->type_name("FOLDER")
        ->capture_default_str();
    verb->add_flag(
        "--no-sharing", arguments.no_sharing,
        "pages of equal contents keep frames of their own: with shared ones a\nguest can tell from "
        "the time of its writes what others have in memory");
    verb->add_option("--log", arguments.log, "error, warn, info, debug or trace")
        ->type_name("LEVEL")
        ->capture_default_str();
    verb->add_flag("--stats", arguments.statistics, "show figures on standard error at the end");
    verb->add_flag("--json", arguments.json, "show them as JSON");
    add_trace_options(*verb, arguments);
    verb->add_flag("--perf-map", arguments.perf_map,
                   "write /tmp/perf-PID.map, by which perf knows the guest's code");
    verb->final_callback([&arguments, of_machine, chosen = std::move(chosen)] {
        for (const CLI::Option* option : of_machine) {
            if (option->count() > 0) arguments.machine_options.push_back(option->get_name());
        }
        chosen();
    });
}

Result<MonitorOptions> options_of(const RunArguments& arguments) {
    MonitorOptions options;
    options.control = arguments.control;
    if (arguments.host_processors) {
        options.processors = *arguments.host_processors;
        if (options.processors < 1 || options.processors > most_host_processors)
            return Error{
                fmt::format("--processors {}: not from 1 to {}", options.processors, most_host_processors)};
    }
    options.swap_folder = arguments.swap_folder;
    if (arguments.no_sharing) options.equal_pages = EqualPages::KeepApart;
    if (!arguments.pool.empty()) {
        auto pool = parse_memory_size(arguments.pool);
        if (!pool) return std::move(pool.error()).in("--pool");
        options.pool = *pool;
    }
    if (arguments.files.empty()) {
        auto machine = machine_of(arguments);
        if (!machine) return machine.error();
        options.machines.push_back(*std::move(machine));
    }
    if (!arguments.files.empty() && !arguments.machine_options.empty())
        return Error{fmt::format("{} describes a machine, and so does {}: give one of them",
                                 arguments.machine_options.front(), arguments.files.front())};
    std::map<std::string, std::string> files;  // by the machine's name
    for (const std::string& file : arguments.files) {
        auto machine = read_machine_file(file);
        if (!machine) return machine.error();
        auto [first, added] = files.emplace(machine->name, file);
        if (!added)
            return Error{fmt::format("{}: name '{}' is that of {}, too", file, first->first, first->second)};
        options.machines.push_back(*std::move(machine));
    }
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
    auto trace = TraceOutput::open(arguments);
    if (!trace) return refuse(trace.error().message);
    for (TenantOptions& machine : options->machines) machine.machine.trace = trace->kinds();
    auto report = run_machines(*std::move(options));
    if (!report) return refuse(report.error().message);
    trace->write(report->machines);
    if (arguments.json) {
        print_json(stderr, report->machines);
    } else if (arguments.statistics) {
        print_tables(stderr, report->machines);
    }
    if (report->signal != 0) signals::die_of(report->signal);
    int worst = exit_success;
    for (const TenantReport& machine : report->machines) {
        int status = exit_status(machine, report->machines.size() > 1);
        if (severity(status) > severity(worst)) worst = status;
    }
    return worst;
}

}  // namespace undercroft::cli
