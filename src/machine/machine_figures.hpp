// SPDX-License-Identifier: Apache-2.0
// MachineFigures: what can be told of a machine while it runs. Counts and times begin with its boot; rates
// are the reader's to make. What nobody counts yet is absent.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace undercroft {

struct MachineFigures {
    std::optional<std::chrono::nanoseconds> processor_time;  // the host's processors ran its vCPUs
    std::optional<std::chrono::nanoseconds> stolen_time;     // they could have run, and others did
    std::optional<std::uint64_t> switches;                   // times that a vCPU got a processor
    std::optional<std::uint64_t> exits;  // accesses to devices, and times that a vCPU left its engine
    std::optional<std::uint64_t> process_switches;  // inferred, see cpu/address_spaces.hpp
    std::optional<std::uint64_t> processes;         // address spaces that ran in the last ten seconds
    // Memory, in bytes.
    std::optional<std::uint64_t> touched;  // the host backs it
    std::optional<std::uint64_t> shared;
    std::optional<std::uint64_t> zero;
    std::optional<std::uint64_t> ballooned;
    std::optional<std::uint64_t> swapped;
    std::optional<std::uint64_t> compressed;  // of their size before
    std::optional<std::uint64_t> from_disk;   // unchanged since, see memory/disk_origins.hpp
};

}  // namespace undercroft
