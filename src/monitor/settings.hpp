// SPDX-License-Identifier: Apache-2.0
// What users write about a machine, on the command line or in a file, and what it means. Errors name the
// value and the reason; whoever asks says where it stood.

#pragma once

#include "base/result.hpp"
#include "monitor/reports.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft {

Result<EngineKind> engine_named(const std::string& name);      // translate, direct, step, lockstep
Result<DiskChoice> disk_named(const std::string& text);        // FILE[,ro][,format=...][,overlay=...]
Result<ChannelChoice> channel_named(const std::string& text);  // NAME=file:PATH, NAME=unix:PATH
Result<FolderChoice> folder_named(const std::string& text);    // FOLDER[,tag=NAME][,ro]
// Which of KVM's paravirtual features a machine is offered: names with commas, each with a '-' in front if it
// is not to be; `none` and `all`. It begins with none.
Result<std::uint32_t> paravirtual_features(std::string_view text);
Result<unsigned> processor_count(std::int64_t count);
// Those of the host's that are passed on, to the first network of the kind 'user'.
Result<void> add_ports(const std::vector<std::string>& ports, MachineConfig& config);

// The host's processors: a share of them, and percent of one that are the most.
Result<unsigned> processor_weight(std::int64_t weight);
Result<unsigned> processor_cap(std::int64_t percent);

// Letters, digits, '.', '_' and '-', not first; at most 32 of them.
Result<std::string> machine_name(const std::string& name);

// Nothing that contradicts something else.
Result<void> check(const MachineConfig& config);

}  // namespace undercroft
