// SPDX-License-Identifier: Apache-2.0
#include "machine_table.hpp"

#include "monitor/memory_summary.hpp"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>

namespace undercroft::cli {
namespace {

using control::MachineStatus;
using control::Reply;

double value_of(std::uint64_t count) { return static_cast<double>(count); }
double value_of(std::chrono::nanoseconds time) { return std::chrono::duration<double>{time}.count(); }

// An earlier look at a machine, and the monitor's clock then. A machine that began meanwhile began from zero.
struct Earlier {
    MachineFigures figures;
    double seconds = 0;  // that have passed since
};

Earlier earlier_of(const Reply& monitor, const MachineStatus& machine, const std::vector<Reply>& before) {
    for (const Reply& then : before) {
        if (then.process != monitor.process) continue;
        for (const MachineStatus& each : then.machines) {
            if (each.name == machine.name) return {each.figures, monitor.time - then.time};
        }
    }
    return {{}, machine.up};
}

// A machine that has rebooted counts from zero again.
template <class T>
std::optional<double> rate(const std::optional<T>& now, const std::optional<T>& then, double seconds) {
    if (!now || seconds <= 0) return std::nullopt;
    T earlier = then && *then <= *now ? *then : T{};
    return value_of(*now - earlier) / seconds;
}

std::optional<double> percent(std::optional<double> rate_of_time) {
    if (rate_of_time) *rate_of_time *= 100;
    return rate_of_time;
}

std::string up_of(double seconds) {
    auto whole = static_cast<std::uint64_t>(seconds);
    if (whole < 60) return fmt::format("{:.1f} s", seconds);
    if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
    return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

std::string mebibytes(std::uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20); }

struct Column {
    const char* title;
    bool left;
    bool in_few;
    std::optional<std::string> (*text)(const MachineRow&);
};

std::optional<std::string> bytes_text(std::optional<std::uint64_t> bytes) {
    if (!bytes) return std::nullopt;
    return mebibytes(*bytes);
}
std::optional<std::string> percent_text(std::optional<double> value) {
    if (!value) return std::nullopt;
    return fmt::format("{:.1f}", *value);
}
std::optional<std::string> rate_text(std::optional<double> value) {
    if (!value) return std::nullopt;
    return fmt::format("{:.0f}", *value);
}

using Text = std::optional<std::string>;
constexpr std::array<Column, 19> table{
    {{"NAME", true, true, [](const MachineRow& row) -> Text { return row.status.name; }},
     {"MONITOR", false, true, [](const MachineRow& row) -> Text { return fmt::format("{}", row.process); }},
     {"STATE", true, true, [](const MachineRow& row) -> Text { return row.status.state; }},
     {"CPUS", false, true,
      [](const MachineRow& row) -> Text { return fmt::format("{}", row.status.processors); }},
     {"MEMORY", false, true, [](const MachineRow& row) -> Text { return mebibytes(row.status.memory); }},
     {"UP", false, true, [](const MachineRow& row) -> Text { return up_of(row.status.up); }},
     {"CPU %", false, true, [](const MachineRow& row) { return percent_text(row.processor_percent); }},
     {"STEAL %", false, false, [](const MachineRow& row) { return percent_text(row.stolen_percent); }},
     {"SWITCHES/s", false, false, [](const MachineRow& row) { return rate_text(row.switches); }},
     {"EXITS/s", false, false, [](const MachineRow& row) { return rate_text(row.exits); }},
     {"PROCS", false, false,
      [](const MachineRow& row) -> Text {
          if (!row.status.figures.processes) return std::nullopt;
          return fmt::format("{}", *row.status.figures.processes);
      }},
     {"PSWITCH/s", false, false, [](const MachineRow& row) { return rate_text(row.process_switches); }},
     {"TOUCHED", false, false, [](const MachineRow& row) { return bytes_text(row.status.figures.touched); }},
     {"SHARED", false, false, [](const MachineRow& row) { return bytes_text(row.status.figures.shared); }},
     {"ZERO", false, false, [](const MachineRow& row) { return bytes_text(row.status.figures.zero); }},
     {"BALLOON", false, false,
      [](const MachineRow& row) { return bytes_text(row.status.figures.ballooned); }},
     {"SWAPPED", false, false, [](const MachineRow& row) { return bytes_text(row.status.figures.swapped); }},
     {"COMPRESSED", false, false,
      [](const MachineRow& row) { return bytes_text(row.status.figures.compressed); }},
     {"FROM DISK", false, false,
      [](const MachineRow& row) { return bytes_text(row.status.figures.from_disk); }}}};

}  // namespace

std::vector<MachineRow> rows_of(const std::vector<Reply>& monitors, const std::vector<Reply>& before) {
    std::vector<MachineRow> rows;
    for (const Reply& monitor : monitors) {
        for (const MachineStatus& machine : monitor.machines) {
            Earlier then = earlier_of(monitor, machine, before);
            const MachineFigures& now = machine.figures;
            rows.push_back(
                {.process = monitor.process,
                 .status = machine,
                 .processor_percent =
                     percent(rate(now.processor_time, then.figures.processor_time, then.seconds)),
                 .stolen_percent = percent(rate(now.stolen_time, then.figures.stolen_time, then.seconds)),
                 .switches = rate(now.switches, then.figures.switches, then.seconds),
                 .exits = rate(now.exits, then.figures.exits, then.seconds),
                 .process_switches =
                     rate(now.process_switches, then.figures.process_switches, then.seconds)});
        }
    }
    return rows;
}

std::vector<Reply> look(const std::optional<std::string>& path) {
    std::vector<Error> complaints;
    std::vector<Reply> replies;
    for (control::Monitor& monitor : control::all_monitors(path, complaints))
        replies.push_back(std::move(monitor.machines));
    for (const Error& error : complaints) fmt::print(stderr, "undercroft: {}\n", error.message);
    return replies;
}

std::string table_of(const std::vector<MachineRow>& rows, Columns columns, const std::string& line_end) {
    std::vector<std::string> lines(rows.size() + 1);
    for (const Column& column : table) {
        if (columns == Columns::Few && !column.in_few) continue;
        std::vector<std::string> cells{column.title};
        bool known = column.in_few;
        for (const MachineRow& row : rows) {
            auto text = column.text(row);
            known = known || text.has_value();
            cells.push_back(text.value_or("-"));
        }
        if (!known) continue;
        std::size_t width = 0;
        for (const std::string& cell : cells) width = std::max(width, cell.size());
        for (std::size_t n = 0; n < lines.size(); ++n) {
            std::string& line = lines[n];
            if (!line.empty()) line += "  ";
            line +=
                column.left ? fmt::format("{:<{}}", cells[n], width) : fmt::format("{:>{}}", cells[n], width);
        }
    }
    std::string text;
    for (const std::string& line : lines) text += line + line_end;
    return text;
}

std::string memory_of(const std::vector<Reply>& monitors, const std::string& line_end) {
    std::string text;
    for (const Reply& monitor : monitors) {
        std::uint64_t touched = 0;
        for (const MachineStatus& machine : monitor.machines) touched += machine.figures.touched.value_or(0);
        text += fmt::format("monitor {}: {}", monitor.process, memory_summary(touched, monitor.frames)) +
                line_end;
    }
    return text;
}

std::string json_of(const std::vector<MachineRow>& rows, const std::vector<Reply>& monitors) {
    nlohmann::ordered_json root;
    root["machines"] = nlohmann::ordered_json::array();
    for (const MachineRow& row : rows) {
        const MachineStatus& status = row.status;
        nlohmann::ordered_json machine{
            {"pid", row.process},        {"name", status.name},           {"state", status.state},
            {"cpus", status.processors}, {"memory_bytes", status.memory}, {"up_s", status.up}};
        auto add = [&machine](const char* name, const auto& value) {
            if (value) machine[name] = *value;
        };
        add("cpu_percent", row.processor_percent);
        add("steal_percent", row.stolen_percent);
        add("switches_per_s", row.switches);
        add("exits_per_s", row.exits);
        add("processes", status.figures.processes);
        add("process_switches_per_s", row.process_switches);
        add("touched_bytes", status.figures.touched);
        add("shared_bytes", status.figures.shared);
        add("zero_bytes", status.figures.zero);
        add("ballooned_bytes", status.figures.ballooned);
        add("swapped_bytes", status.figures.swapped);
        add("compressed_bytes", status.figures.compressed);
        add("from_disk_bytes", status.figures.from_disk);
        root["machines"].push_back(std::move(machine));
    }
    root["monitors"] = nlohmann::ordered_json::array();
    for (const Reply& monitor : monitors)
        root["monitors"].push_back({{"pid", monitor.process}, {"frames_bytes", monitor.frames}});
    return root.dump() + "\n";
}

}  // namespace undercroft::cli
