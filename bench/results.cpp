// SPDX-License-Identifier: Apache-2.0
#include "results.hpp"

#include <algorithm>

namespace undercroft::bench {

double median(std::vector<double> values) {
    std::erase_if(values, [](double value) { return std::isnan(value); });
    if (values.empty()) return missing;
    std::sort(values.begin(), values.end());
    std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::optional<std::size_t> Results::find(std::string_view key) const {
    for (std::size_t i = 0; i < contestants.size(); i++) {
        if (contestants[i].key == key) return i;
    }
    return std::nullopt;
}

double times_as_long(const RowResult& row, std::optional<std::size_t> one, std::optional<std::size_t> other) {
    if (!one || !other) return missing;
    bool is_rate = row.unit.ends_with("/s");
    std::vector<double> ratios;
    for (std::size_t run = 0; run < row.values[*one].size(); run++) {
        double mine = row.values[*one][run], theirs = row.values[*other][run];
        ratios.push_back(is_rate ? theirs / mine : mine / theirs);
    }
    return median(std::move(ratios));
}

Verdict verdict(const Results& results, const RowResult& row) {
    Verdict verdict;
    auto us = results.find("undercroft");
    verdict.times_native = times_as_long(row, us, results.find("native"));
    for (std::size_t i = 0; i < results.contestants.size(); i++) {
        if (results.contestants[i].kind != Kind::Qemu) continue;
        verdict.over_qemu = std::fmin(verdict.over_qemu, times_as_long(row, i, us));
    }
    if (row.row->goal) {
        const Goal& goal = *row.row->goal;
        double reached = goal.against == Against::Native
                             ? verdict.times_native
                             : times_as_long(row, us, results.find("qemu_microvm"));
        if (!std::isnan(reached)) verdict.goal_met = reached <= goal.at_most;
    }
    return verdict;
}

double mean_over_qemu(const Results& results) {
    double logarithms = 0;
    int count = 0;
    for (const RowResult& row : results.rows) {
        double over = verdict(results, row).over_qemu;
        if (!row.row->in_mean || std::isnan(over)) continue;
        logarithms += std::log(over);
        count++;
    }
    return count == 0 ? missing : std::exp(logarithms / count);
}

}  // namespace undercroft::bench
