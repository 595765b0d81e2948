// SPDX-License-Identifier: Apache-2.0
#include "contestant.hpp"

#include "base/clock.hpp"

#include <fmt/core.h>

namespace undercroft::bench {
namespace {

// What `undercroft run` gives a kernel by itself.
constexpr std::string_view kernel_command_line =
    "console=ttyS0 panic=1 reboot=acpi mitigations=off tsc=reliable";

std::string words(const Paths& paths, const std::string& script) {
    return paths.disk.empty() ? "undercroft.script=" + script : "rw root=/dev/vda";
}

}  // namespace

Contestant native(const Paths& paths) {
    return {Kind::Native, "native", "native", {"env", "BENCH=" + paths.programs, "sh", paths.agent}};
}

Contestant undercroft(const Paths& paths, const std::string& script) {
    Contestant ours{Kind::Undercroft,
                    "undercroft",
                    "undercroft",
                    {paths.undercroft, "run", "--kernel", paths.kernel, "--initrd", paths.initrd, "--memory",
                     paths.memory, "--append", words(paths, script), "--json"}};
    if (!paths.disk.empty())
        for (const std::string& more : {std::string{"--disk"}, paths.disk + ",overlay=discard",
                                        std::string{"--net"}, std::string{"user"}})
            ours.command.push_back(more);
    return ours;
}

Contestant qemu(const Paths& paths, const std::string& machine, const std::string& cpu,
                const std::string& script) {
    std::string append = fmt::format("{} {} tsc_early_khz={}", kernel_command_line, words(paths, script),
                                     HostClock{}.hz() / 1000);
    Contestant peer{Kind::Qemu,
                    "QEMU " + machine,
                    "qemu_" + machine,
                    {paths.qemu,        "-accel",     "tcg",     "-M",
                     machine,           "-cpu",       cpu,       "-m",
                     paths.memory,      "-smp",       "1",       "-nodefaults",
                     "-no-user-config", "-display",   "none",    "-serial",
                     "stdio",           "-no-reboot", "-kernel", paths.kernel,
                     "-initrd",         paths.initrd, "-append", append}};
    if (!paths.disk.empty()) {
        std::string bus = machine == "microvm" ? "device" : "pci";
        for (const std::string& more :
             {std::string{"-drive"}, "if=none,id=disk,format=raw,snapshot=on,file=" + paths.disk,
              std::string{"-device"}, "virtio-blk-" + bus + ",drive=disk", std::string{"-netdev"},
              std::string{"user,id=net"}, std::string{"-device"}, "virtio-net-" + bus + ",netdev=net"})
            peer.command.push_back(more);
    }
    return peer;
}

}  // namespace undercroft::bench
