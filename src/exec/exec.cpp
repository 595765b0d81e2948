// SPDX-License-Identifier: Apache-2.0
#include "exec/exec.hpp"

#include "boot/cpio.hpp"
#include "exec/control_port.hpp"
#include "exec/kernel_files.hpp"
#include "exec/kernel_log.hpp"
#include "exec/ports.hpp"
#include "machine/signals.hpp"
#include "machine/terminal.hpp"
#include "monitor/monitor.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>

extern "C" const std::byte undercroft_exec_init[];
extern "C" const std::byte undercroft_exec_init_end[];

namespace undercroft {
namespace {

// The host's files change seldom, and a command does not live long.
constexpr std::chrono::seconds root_validity{60};
// For what the command has written when its machine has gone.
constexpr std::chrono::milliseconds patience_at_end{1000};

bool has_terminal() { return ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0; }

std::optional<winsize> terminal_size() {
    winsize size{};
    if (!has_terminal() || ::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) return std::nullopt;
    return size;
}

std::string octal_umask() {
    mode_t mask = ::umask(0);
    ::umask(mask);
    return fmt::format("{:o}", mask);
}

// What guest/plan.c reads: strings with a zero behind each, whose first letters are those of guest/guest.h.
class Plan {
public:
    void add(char what, std::string_view text) {
        text_ += what;
        text_ += text;
        text_ += '\0';
    }
    std::span<const std::byte> bytes() const { return std::as_bytes(std::span{text_}); }

private:
    std::string text_;
};

Result<std::vector<std::byte>> make_initramfs(const ExecOptions& options, const KernelFiles& files) {
    boot::CpioWriter archive;
    Plan plan;
    archive.add_folder("dev");
    archive.add_folder("modules");
    for (const std::string& path : files.modules) {
        auto module = read_file(path);
        if (!module) return Error{"module " + module.error().message};
        std::string inside = "modules/" + std::filesystem::path{path}.filename().string();
        archive.add_file(inside, *module);
        plan.add('m', "/" + inside);
    }
    plan.add(options.shared ? 'w' : 'd', options.folder);
    if (options.access == FolderAccess::ReadOnly) plan.add('o', "");
    if (auto size = terminal_size()) {
        plan.add('t', fmt::format("{} {}", size->ws_row, size->ws_col));
        if (::isatty(STDERR_FILENO) == 0) plan.add('s', "");
    }
    plan.add('u', octal_umask());
    for (const std::string& variable : options.environment) plan.add('e', variable);
    for (const std::string& argument : options.command) plan.add('a', argument);
    archive.add_file("plan", plan.bytes());
    archive.add_file("init", {undercroft_exec_init, undercroft_exec_init_end}, 0755);
    return std::move(archive).finish();
}

// A file that has no name.
Result<Fd> anonymous_file(std::span<const std::byte> bytes) {
    Fd fd{::memfd_create("initramfs", MFD_CLOEXEC)};
    if (!fd) return host_error();
    while (!bytes.empty()) {
        ssize_t count = ::write(fd.get(), bytes.data(), bytes.size());
        if (count < 0) return host_error();
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return fd;
}

std::string ending_of(Outcome outcome) {
    switch (outcome) {
        case Outcome::Reset: return "its kernel has panicked or asked for a reset";
        case Outcome::TripleFault: return "triple fault";
        case Outcome::EnginesDiffer: return "the engines differ";
        case Outcome::StateLost: return "its state is lost: the host has killed the process that executed it";
        case Outcome::PoweredOff:
        case Outcome::Stopped: break;
    }
    return "it was powered off";
}

// All that a run has besides its options, ready before anything is started.
struct Run {
    KernelFiles files;
    Fd initramfs;
    std::unique_ptr<KernelLog> log;
    std::unique_ptr<InputPort> input;
    std::unique_ptr<OutputPort> output, errors;
};

Result<Run> prepare(const ExecOptions& options) {
    auto files = find_kernel(options.kernel, options.modules);
    if (!files) return files.error();
    auto archive = make_initramfs(options, *files);
    if (!archive) return archive.error();
    auto initramfs = anonymous_file(*archive);
    if (!initramfs) return std::move(initramfs.error()).in("initramfs");
    signals::block();  // before there are threads
    auto log = KernelLog::open(options.verbose);
    if (!log) return log.error();
    auto input = InputPort::open(STDIN_FILENO);
    auto output = OutputPort::open(STDOUT_FILENO);
    auto errors = OutputPort::open(STDERR_FILENO);
    for (const auto* opened : {&output, &errors}) {
        if (!*opened) return opened->error();
    }
    if (!input) return input.error();
    return Run{*std::move(files), *std::move(initramfs), *std::move(log),
               *std::move(input), *std::move(output),    *std::move(errors)};
}

TenantOptions describe(ExecOptions options, const Run& run) {
    TenantOptions tenant;
    tenant.name = fmt::format("exec-{}", ::getpid());
    tenant.console = run.log->console();
    tenant.machine = std::move(options.machine);
    tenant.machine.kernel = run.files.kernel;
    tenant.machine.initrd = fmt::format("/proc/self/fd/{}", run.initramfs.get());
    tenant.machine.command_line =
        std::string{default_command_line} + " panic=-1" + (options.verbose ? "" : " quiet");
    tenant.machine.folders.push_back(
        {options.root, "root", {FolderAccess::ReadOnly, FolderSync::Ignored, root_validity}});
    if (options.shared)
        tenant.machine.folders.push_back(
            {options.folder, "work", {options.access, FolderSync::Ignored, FolderOptions{}.validity}});
    return tenant;
}

}  // namespace

Result<int> exec_in_machine(ExecOptions options) {
    auto run = prepare(options);
    if (!run) return run.error();
    ControlPort control{*run->output, *run->errors};
    MonitorOptions monitor;
    monitor.machines.push_back(describe(std::move(options), *run));
    monitor.machines.front().machine.console_ports = {run->input.get(), run->output.get(), run->errors.get(),
                                                      &control};
    monitor.on_signal = [&control](int signal) {
        if (signal != SIGWINCH) return control.pass_on_signal(signal);
        if (auto size = terminal_size()) control.set_terminal_size(size->ws_row, size->ws_col);
        return true;
    };
    if (has_terminal()) {
        if (auto raw = terminal::enter_raw_mode(STDIN_FILENO); !raw) return raw.error();
    }
    auto report = run_machines(std::move(monitor));
    terminal::leave();
    if (!report) return report.error();
    if (report->signal != 0) signals::die_of(report->signal);
    if (auto status = control.status()) return *status;
    for (OutputPort* port : {run->output.get(), run->errors.get()}) port->finish(patience_at_end);
    std::string last = run->log->finish();
    std::fprintf(stderr, "%sundercroft: the machine ended before the command: %s\n", last.c_str(),
                 ending_of(report->machines.front().outcome).c_str());
    return exec_machine_failed;
}

}  // namespace undercroft
