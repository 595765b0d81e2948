// SPDX-License-Identifier: Apache-2.0
// What bench/compare makes of its measurements.

#include "report.hpp"
#include "results.hpp"
#include "session.hpp"

#include <gtest/gtest.h>

#include <set>

namespace undercroft::bench {
namespace {

// Two runs of one row, natively, by us and by two QEMUs.
Results results_of(std::string_view row, const std::string& unit, Values values) {
    Results results;
    results.contestants = {{Kind::Native, "native", "native", {}},
                           {Kind::Undercroft, "undercroft", "undercroft", {}},
                           {Kind::Qemu, "QEMU q35", "qemu_q35", {}},
                           {Kind::Qemu, "QEMU microvm", "qemu_microvm", {}}};
    results.rows = {{find_row(row), unit, std::move(values)}};
    results.accounts.resize(4);
    return results;
}

TEST(Rows, have_names_of_their_own) {
    std::set<std::string_view> names;
    for (const Row& row : rows()) EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(find_row("no such row"), nullptr);
}

TEST(Results, median_passes_over_what_is_missing) {
    EXPECT_EQ(median({3, missing, 1, 2}), 2);
    EXPECT_EQ(median({4, 1}), 2.5);
    EXPECT_TRUE(std::isnan(median({missing})));
}

TEST(Results, ratios_are_of_times_whatever_the_unit) {
    Results times = results_of("calls", "ns", {{2, 2}, {3, 3}, {30, 30}, {20, 20}});
    Verdict ours = verdict(times, times.rows[0]);
    EXPECT_DOUBLE_EQ(ours.times_native, 1.5);
    EXPECT_DOUBLE_EQ(ours.over_qemu, 20.0 / 3);  // the faster one
    EXPECT_EQ(ours.goal_met, true);

    Results rates = results_of("sha256", "MB/s", {{200, 200}, {100, 100}, {10, 10}, {20, 20}});
    ours = verdict(rates, rates.rows[0]);
    EXPECT_DOUBLE_EQ(ours.times_native, 2);
    EXPECT_DOUBLE_EQ(ours.over_qemu, 5);
    EXPECT_EQ(ours.goal_met, false);
}

TEST(Results, a_ratio_is_that_of_a_run) {
    // The second run met a machine half as fast: each ratio is 2, that of the sorted values would be too, but
    // not with a run where only one was measured.
    Results results = results_of("calls", "ns", {{1, 10, 5}, {2, 20, missing}, {}, {}});
    EXPECT_DOUBLE_EQ(times_as_long(results.rows[0], 1, 0), 2);
    EXPECT_TRUE(std::isnan(times_as_long(results.rows[0], 1, std::nullopt)));
}

TEST(Results, the_boot_is_compared_with_the_microvm) {
    Results results = results_of("boot", "s", {{missing}, {1}, {2}, {4}});
    Verdict ours = verdict(results, results.rows[0]);
    EXPECT_TRUE(std::isnan(ours.times_native));
    EXPECT_EQ(ours.goal_met, true);
    EXPECT_DOUBLE_EQ(ours.over_qemu, 2);
}

TEST(Results, the_mean_leaves_rep_movsb_out) {
    Results results = results_of("calls", "ns", {{1}, {1}, {4}, {4}});
    results.rows.push_back({find_row("sha256"), "MB/s", {{1}, {9}, {1}, {1}}});
    results.rows.push_back({find_row("copy-movsb"), "MB/s", {{1}, {1000}, {1}, {1}}});
    EXPECT_DOUBLE_EQ(mean_over_qemu(results), 6);
}

TEST(Session, understands_a_program) {
    const Row& row = *find_row("clock");
    auto sample = parse_sample(row, "BENCH clock 35.5 ns\r\nANSWER clock 00ff\r\nTOOK clock 0.25\r\n");
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->value, 35.5);
    EXPECT_EQ(sample->unit, "ns");
    EXPECT_EQ(sample->answer, "00ff");
    EXPECT_EQ(sample->guest_s, 0.25);
    EXPECT_FALSE(parse_sample(row, "BENCH clock 35.5 ns\r\nTOOK clock 0.25\r\n"));
    EXPECT_FALSE(parse_sample(row, "BENCH syscall 35.5 ns\nANSWER syscall 00\nTOOK syscall 1\n"));
    EXPECT_FALSE(parse_sample(row, "BENCH clock nan ns\nANSWER clock 00\nTOOK clock 1\n"));
}

TEST(Process, is_told_and_heard) {
    auto process = Process::start({"sh", "-c", "echo ready; read -r line; echo \"got $line\"; exit 3"});
    ASSERT_TRUE(process);
    EXPECT_EQ(process->take_until("ready\n", 10), "ready\n");
    ASSERT_TRUE(process->tell("a word\n"));
    EXPECT_EQ(process->take_until("got a word", 10), "got a word");
    EXPECT_FALSE(process->take_until("nothing of the kind", 10));
    EXPECT_TRUE(process->output_ended());
    EXPECT_EQ(process->rest(), "\n");
}

TEST(Process, that_does_not_exist_is_an_error) {
    auto process = Process::start({"/no/such/program"});
    ASSERT_FALSE(process);
    EXPECT_EQ(process.error().message, "'/no/such/program': No such file or directory");
}

TEST(Report, has_every_row_in_all_three) {
    Results results = results_of("calls", "ns", {{2}, {3}, {30}, {20}});
    results.accounts.assign(4, {9, 10, {100}});
    EXPECT_NE(markdown(results).find("| recursive calls |"), std::string::npos);
    EXPECT_NE(markdown(results).find("≤ 1.6"), std::string::npos);
    EXPECT_NE(json(results).find("\"times_native\": 1.5"), std::string::npos);
    EXPECT_NE(svg(results).find(">recursive calls<"), std::string::npos);
}

}  // namespace
}  // namespace undercroft::bench
