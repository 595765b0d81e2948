// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <nlohmann/json.hpp>

namespace undercroft::bench {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no NaN.
Json number(double value) { return std::isnan(value) ? Json() : Json(value); }

Json row_json(const Results& results, const RowResult& row) {
    Json object{{"row", row.row->name}, {"title", row.row->title}, {"unit", row.unit}};
    for (std::size_t i = 0; i < row.values.size(); i++) {
        Json values = Json::array();
        for (double value : row.values[i]) values.push_back(number(value));
        object["contestants"][results.contestants[i].key] = {{"median", number(median(row.values[i]))},
                                                             {"values", std::move(values)}};
    }
    Verdict ours = verdict(results, row);
    object["times_native"] = number(ours.times_native);
    object["times_faster_than_qemu"] = number(ours.over_qemu);
    if (row.row->goal) {
        object["goal"] = {{"at_most", row.row->goal->at_most},
                          {"times", row.row->goal->against == Against::Native ? "native" : "qemu_microvm"},
                          {"met", ours.goal_met ? Json(*ours.goal_met) : Json()}};
    }
    return object;
}

}  // namespace

std::string json(const Results& results) {
    Json root{{"runs", results.runs}, {"machine", results.machine}, {"load", results.load}};
    for (const RowResult& row : results.rows) root["rows"].push_back(row_json(results, row));
    root["geometric_mean_over_qemu"] = {{"times", number(mean_over_qemu(results))}, {"goal", mean_goal}};
    for (std::size_t i = 0; i < results.contestants.size(); i++) {
        const Account& account = results.accounts[i];
        root["accounts"][results.contestants[i].key] = {
            {"guest_clock_to_host_clock", number(account.guest_s / account.wall_s)},
            {"peak_rss_mib", number(median(account.peak_rss_mib))}};
    }
    for (const Figure& figure : results.figures) root["figures"][figure.key] = number(figure.value);
    return root.dump(2) + "\n";
}

}  // namespace undercroft::bench
