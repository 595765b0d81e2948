// SPDX-License-Identifier: Apache-2.0
// What the user asks for, and a guest's memory made from it, ready to start: kernel, initrd and boot
// structures in place.

#pragma once

#include "base/result.hpp"
#include "boot/load.hpp"
#include "cpu/paravirtual.hpp"
#include "disk/open_disk.hpp"
#include "machine/channel.hpp"
#include "memory/guest_memory.hpp"
#include "net/choice.hpp"
#include "schedule/task.hpp"
#include "share/folder_server.hpp"
#include "trace/kinds.hpp"
#include "vsock/host.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace undercroft {

// Direct: as Translate, and all user code is executed directly, not only what computes.
enum class EngineKind : std::uint8_t { Translate, Direct, Step, Lockstep };

struct EngineChoice {
    EngineChoice(EngineKind of_kind = EngineKind::Translate) : kind{of_kind} {}

    EngineKind kind;
    std::uint64_t lockstep_every = 0;  // see LockstepOptions::every
    bool direct = true;                // Translate: user code that computes runs as it is (docs/direct.md)
};

struct FolderChoice {
    std::string path;
    std::string tag;  // what the guest mounts it by
    FolderOptions options;
};

struct MachineConfig {
    std::string kernel;                               // path
    std::string initrd;                               // path; empty: none
    std::string command_line;                         // all of it
    std::uint64_t memory = std::uint64_t{512} << 20;  // bytes
    unsigned processors = 1;
    std::vector<DiskChoice> disks;
    std::vector<NetChoice> networks;
    std::vector<FolderChoice> folders;
    // Of a virtio console, if there are any: those of the caller, which outlive the machine, and the others.
    std::vector<ConsolePort*> console_ports;
    std::vector<ChannelChoice> channels;
    bool balloon = false;
    bool entropy = false;
    std::optional<VsockChoice> vsock;
    EngineChoice engine;
    ShareOptions share;
    std::uint32_t paravirtual = 0;    // see cpu/paravirtual.hpp
    TraceKinds trace;                 // what is recorded while it runs
    std::shared_ptr<FramePool> pool;  // of machine frames; null: one of its own

    bool has_console_ports() const { return !console_ports.empty() || !channels.empty(); }
    // At most layout::virtio_slot_count.
    std::size_t virtio_devices() const {
        return disks.size() + networks.size() + folders.size() + (has_console_ports() ? 1 : 0) +
               (balloon ? 1 : 0) + (entropy ? 1 : 0) + (vsock ? 1 : 0);
    }
};

// What a kernel is told unless the user says otherwise. Mitigations inside a guest protect nothing from code
// that is translated anyway; the TSC is the host's, constant and the same everywhere. Proactive compaction
// wakes an idle guest twice a second, to make room for large pages, which are not faster here.
inline constexpr const char* default_command_line =
    "console=ttyS0 panic=1 reboot=acpi mitigations=off tsc=reliable sysctl.vm.compaction_proactiveness=0";

struct GuestImage {
    std::unique_ptr<GuestMemory> memory;
    boot::EntryState entry;
    std::chrono::nanoseconds unpacking{};  // reading and unpacking the kernel
    std::chrono::nanoseconds placing{};    // the rest
};

// Errors name the file or the option, and the reason.
Result<GuestImage> load_guest(const MachineConfig& config);

}  // namespace undercroft
