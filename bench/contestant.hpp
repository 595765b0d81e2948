// SPDX-License-Identifier: Apache-2.0
// Who takes part, and the command that starts each: the host itself, us, and QEMU's translator (TCG).
//
// All machines get the same kernel, initramfs, memory and kernel command line, but for one word in QEMU's
// favour: on its microvm the guest calibrates its TSC against the PIT, which takes time and, on a busy host,
// fails and then hangs; QEMU's guests are told the frequency (tsc_early_khz).

#pragma once

#include <string>
#include <vector>

namespace undercroft::bench {

constexpr std::string_view init_line = "undercroft: init reached";

struct Paths {
    std::string undercroft, kernel, initrd, memory = "512M", qemu = "qemu-system-x86_64";
    std::string disk;      // an image with a whole system, if there is one; what a guest writes is forgotten
    std::string programs;  // the folder of the programs, to run them natively
    std::string agent;     // guests/scripts/bench
};

enum class Kind { Native, Undercroft, Qemu };

struct Contestant {
    Kind kind = Kind::Native;
    std::string name;  // "QEMU microvm"
    std::string key;   // "qemu_microvm"
    std::vector<std::string> command;
};

// guests/scripts/bench run by the host's own shell.
Contestant native(const Paths& paths);
// A machine whose init runs guests/scripts/`script`; with a disk, one whose root that is, on a network of its
// own.
Contestant undercroft(const Paths& paths, const std::string& script);
// `machine` is q35 or microvm. `cpu`: "max,-erms" is the fair peer, as TCG is slow at `rep movs`, and Linux
// then copies otherwise.
Contestant qemu(const Paths& paths, const std::string& machine, const std::string& cpu,
                const std::string& script);

}  // namespace undercroft::bench
