// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace undercroft::bench {
namespace {

using Line = std::vector<std::string>;

// How many columns a UTF-8 text takes (those that we print are one column a character).
std::size_t width(const std::string& text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// The first line is the heading. The first column is text, the others are figures.
std::string table(const std::vector<Line>& lines) {
    std::vector<std::size_t> widths(lines.front().size());
    for (const Line& line : lines) {
        for (std::size_t i = 0; i < line.size(); i++) widths[i] = std::max(widths[i], width(line[i]));
    }
    std::string text;
    for (std::size_t number = 0; number < lines.size(); number++) {
        for (std::size_t i = 0; i < widths.size(); i++) {
            std::string space(widths[i] - width(lines[number][i]), ' ');
            text += i == 0 ? "| " + lines[number][i] + space : " | " + space + lines[number][i];
        }
        text += " |\n";
        if (number != 0) continue;
        for (std::size_t i = 0; i < widths.size(); i++)
            text += "|" + std::string(widths[i] + 1, '-') + (i == 0 ? "-" : ":");
        text += "|\n";
    }
    return text;
}

std::string goal_text(const RowResult& row) {
    if (!row.row->goal) return "";
    return fmt::format("≤ {}{}", row.row->goal->at_most,
                       row.row->goal->against == Against::QemuMicrovm ? " × microvm" : "");
}

std::string main_table(const Results& results) {
    std::vector<Line> lines{{"", "unit"}};
    for (const Contestant& contestant : results.contestants) lines[0].push_back(contestant.name);
    for (const char* heading : {"× native", "goal", "met", "× faster than QEMU"}) lines[0].push_back(heading);
    for (const RowResult& row : results.rows) {
        Line line{std::string{row.row->title}, row.unit};
        for (const auto& values : row.values) line.push_back(three_digits(median(values)));
        Verdict ours = verdict(results, row);
        line.push_back(three_digits(ours.times_native));
        line.push_back(goal_text(row));
        line.push_back(!ours.goal_met ? "" : *ours.goal_met ? "yes" : "no");
        line.push_back(three_digits(ours.over_qemu));
        lines.push_back(std::move(line));
    }
    return table(lines);
}

std::string accounts_table(const Results& results) {
    std::vector<Line> lines{{"", "guest's clock : host's", "peak RSS MiB"}};
    for (std::size_t i = 0; i < results.contestants.size(); i++) {
        const Account& account = results.accounts[i];
        lines.push_back({results.contestants[i].name, three_digits(account.guest_s / account.wall_s),
                         three_digits(median(account.peak_rss_mib))});
    }
    return table(lines);
}

}  // namespace

std::string three_digits(double value) {
    if (std::isnan(value)) return "–";
    if (value >= 100) return fmt::format("{:.0f}", value);
    return fmt::format("{:.{}f}", value, value >= 10 ? 1 : 2);
}

std::string markdown(const Results& results) {
    std::string text =
        fmt::format("{} runs on {}, load {:.1f} before.\n\n", results.runs, results.machine, results.load);
    text += main_table(results);
    double mean = mean_over_qemu(results);
    if (!std::isnan(mean)) {
        text += fmt::format(
            "\nGeometric mean without the copies 8 MiB apart and rep movsb: {} times faster than the faster "
            "of the QEMUs (goal: {}, "
            "{}).\n",
            three_digits(mean), mean_goal, mean >= mean_goal ? "met" : "not met");
    }
    text += "\n" + accounts_table(results);
    if (!results.figures.empty()) {
        std::vector<Line> lines{{"a boot under undercroft", "", "unit"}};
        for (const Figure& figure : results.figures)
            lines.push_back({figure.name, three_digits(figure.value), figure.unit});
        text += "\n" + table(lines);
    }
    return text;
}

}  // namespace undercroft::bench
