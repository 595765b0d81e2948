// SPDX-License-Identifier: Apache-2.0
#include "contestant.hpp"

#include "base/clock.hpp"

#include <fmt/core.h>

namespace undercroft::bench {
namespace {

// What `undercroft run` gives a kernel by itself.
constexpr std::string_view kernel_command_line =
    "console=ttyS0 panic=1 reboot=acpi mitigations=off tsc=reliable";

std::string script_word(const std::string& script) { return "undercroft.script=" + script; }

}  // namespace

Contestant native(const Paths& paths) {
    return {Kind::Native, "native", "native", {"env", "BENCH=" + paths.programs, "sh", paths.agent}};
}

Contestant undercroft(const Paths& paths, const std::string& script) {
    return {Kind::Undercroft,
            "undercroft",
            "undercroft",
            {paths.undercroft, "run", "--kernel", paths.kernel, "--initrd", paths.initrd, "--memory",
             paths.memory, "--append", script_word(script), "--json"}};
}

Contestant qemu(const Paths& paths, const std::string& machine, const std::string& cpu,
                const std::string& script) {
    std::string append = fmt::format("{} {} tsc_early_khz={}", kernel_command_line, script_word(script),
                                     HostClock{}.hz() / 1000);
    return {Kind::Qemu,
            "QEMU " + machine,
            "qemu_" + machine,
            {paths.qemu,        "-accel",     "tcg",     "-M",
             machine,           "-cpu",       cpu,       "-m",
             paths.memory,      "-smp",       "1",       "-nodefaults",
             "-no-user-config", "-display",   "none",    "-serial",
             "stdio",           "-no-reboot", "-kernel", paths.kernel,
             "-initrd",         paths.initrd, "-append", append}};
}

}  // namespace undercroft::bench
