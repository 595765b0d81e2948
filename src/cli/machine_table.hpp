// SPDX-License-Identifier: Apache-2.0
// Machines as `ps` and `top` show them: a table for people, JSON for programs. Rates are over the time
// between two looks, or since the machine's start.

#pragma once

#include "monitor/control/client.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace undercroft::cli {

struct MachineRow {
    std::uint64_t process = 0;  // its monitor's
    control::MachineStatus status;
    std::optional<double> processor_percent;  // of one processor
    std::optional<double> stolen_percent;
    std::optional<double> switches;          // a second
    std::optional<double> exits;             // a second
    std::optional<double> process_switches;  // a second
};

// `before`: an earlier look. Machines that were not there are averaged since their start.
std::vector<MachineRow> rows_of(const std::vector<control::Reply>& monitors,
                                const std::vector<control::Reply>& before = {});

// All monitors of this user, or the one at `path`; tells on standard error which do not answer.
std::vector<control::Reply> look(const std::optional<std::string>& path);

// Columns that no machine has a figure for are left out. Lines end with `line_end`.
enum class Columns : std::uint8_t { Few, All };
std::string table_of(const std::vector<MachineRow>& rows, Columns columns,
                     const std::string& line_end = "\n");

// A line for each monitor: what its machines' memory takes of the host.
std::string memory_of(const std::vector<control::Reply>& monitors, const std::string& line_end = "\n");

// {"machines": [{"pid": …, "name": …, …}], "monitors": [{"pid": …, "frames_bytes": …}]}, on one line; figures
// that nobody counts are absent.
std::string json_of(const std::vector<MachineRow>& rows, const std::vector<control::Reply>& monitors);

}  // namespace undercroft::cli
