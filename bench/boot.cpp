// SPDX-License-Identifier: Apache-2.0
// Boots one kernel and initramfs to its init, or with a disk to its login prompt, under us and under QEMU's
// translator (TCG), in turn, and compares. To be started by the scripts bench/boot and bench/debian, which
// prepare all that is needed.
//
// The time is from the start of the process to the line that guests/init prints, or to "login: ". QEMU is
// measured with `-cpu max`, and without ERMS, which is the fairer peer (contestant.hpp); with a disk, only
// that, on both of its boards.

#include "contestant.hpp"
#include "launch.hpp"

#include <fmt/core.h>
#include <getopt.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace undercroft::bench {
namespace {

struct Options {
    Paths paths;
    int runs = 5;
    double limit_s = 30;  // a boot that takes longer hangs
    bool json = false;

    bool whole_system() const { return !paths.disk.empty(); }
    std::string_view goal() const { return whole_system() ? "login: " : init_line; }
};

struct Series {
    Contestant contestant;
    std::vector<Boot> boots;
    int hangs = 0;
};

struct Summary {
    double median = 0, least = 0, most = 0;
};

Summary summary(const std::vector<Boot>& boots, double Boot::*figure) {
    std::vector<double> values;
    values.reserve(boots.size());
    for (const Boot& boot : boots) values.push_back(boot.*figure);
    std::sort(values.begin(), values.end());
    std::size_t middle = values.size() / 2;
    double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return {median, values.front(), values.back()};
}

std::vector<Series> all_series(const Options& options) {
    std::vector<Series> all{{undercroft(options.paths, "poweroff"), {}, 0}};
    using Peer = std::pair<const char*, const char*>;
    Peer second = options.whole_system() ? Peer{"q35", "max,-erms"} : Peer{"microvm", "max"};
    for (const auto& [board, cpu] : {Peer{"microvm", "max,-erms"}, second}) {
        Contestant peer = qemu(options.paths, board, cpu, "poweroff");
        peer.name += std::string{", -cpu "} + cpu;
        all.push_back({std::move(peer), {}, 0});
    }
    return all;
}

// One boot that counts. One that hangs is tried again, and told.
Result<void> add_boot(Series& series, const Options& options) {
    constexpr int attempts = 5;
    for (int attempt = 0; attempt < attempts; attempt++) {
        auto boot = boot_until(series.contestant.command, options.goal(), options.limit_s);
        if (!boot) return std::move(boot.error());
        if (boot->reached) {
            series.boots.push_back(*boot);
            return {};
        }
        series.hangs++;
    }
    return Error{fmt::format("{} did not come to '{}' within {} s, {} times", series.contestant.name,
                             options.goal(), options.limit_s, attempts)};
}

void print_table(const std::vector<Series>& all, const Options& options) {
    double ours = summary(all.front().boots, &Boot::seconds).median;
    fmt::print("{:<30} {:>9} {:>15} {:>8} {:>9} {:>6} {:>6}\n",
               options.whole_system() ? "start of the process to login" : "start of the process to init",
               "median s", "min-max s", "CPU s", "RSS MiB", "hangs", "times");
    for (const Series& series : all) {
        Summary time = summary(series.boots, &Boot::seconds);
        fmt::print("{:<30} {:>9.3f} {:>15} {:>8.2f} {:>9.0f} {:>6} {:>6.2f}\n", series.contestant.name,
                   time.median, fmt::format("{:.3f}-{:.3f}", time.least, time.most),
                   summary(series.boots, &Boot::processor_s).median,
                   summary(series.boots, &Boot::peak_rss_mib).median, series.hangs, time.median / ours);
    }
    for (std::size_t i = 1; i < all.size(); i++) {
        double theirs = summary(all[i].boots, &Boot::seconds).median;
        fmt::print("undercroft needs {:.2f} of the time of {}\n", ours / theirs, all[i].contestant.name);
    }
}

void print_json(const std::vector<Series>& all, const Options& options) {
    fmt::print("{{\n  \"runs\": {},\n  \"memory\": \"{}\",\n  \"contestants\": [\n", options.runs,
               options.paths.memory);
    for (const Series& series : all) {
        Summary time = summary(series.boots, &Boot::seconds);
        fmt::print(
            "    {{\"name\": \"{}\", \"median_s\": {:.4f}, \"min_s\": {:.4f}, \"max_s\": {:.4f}, "
            "\"cpu_s\": {:.3f}, \"peak_rss_mib\": {:.1f}, \"hangs\": {}}}{}\n",
            series.contestant.name, time.median, time.least, time.most,
            summary(series.boots, &Boot::processor_s).median,
            summary(series.boots, &Boot::peak_rss_mib).median, series.hangs,
            &series == &all.back() ? "" : ",");
    }
    fmt::print("  ]\n}}\n");
}

int measure(const Options& options) {
    std::vector<Series> all = all_series(options);
    for (int run = 0; run < options.runs; run++) {
        for (Series& series : all) {
            if (auto done = add_boot(series, options); !done) {
                fmt::print(stderr, "bench/boot: {}\n", done.error().message);
                return 1;
            }
            const Boot& boot = series.boots.back();
            fmt::print(stderr, "run {} of {}: {:.3f} s {}\n", run + 1, options.runs, boot.seconds,
                       series.contestant.name);
        }
    }
    options.json ? print_json(all, options) : print_table(all, options);
    return 0;
}

int start(int argc, char** argv) {
    Options options;
    const std::array<option, 10> known{{{"undercroft", required_argument, nullptr, 'u'},
                                        {"kernel", required_argument, nullptr, 'k'},
                                        {"initrd", required_argument, nullptr, 'i'},
                                        {"memory", required_argument, nullptr, 'm'},
                                        {"disk", required_argument, nullptr, 'd'},
                                        {"qemu", required_argument, nullptr, 'q'},
                                        {"runs", required_argument, nullptr, 'r'},
                                        {"limit", required_argument, nullptr, 'l'},
                                        {"json", no_argument, nullptr, 'j'},
                                        {nullptr, 0, nullptr, 0}}};
    for (int letter = 0; (letter = getopt_long(argc, argv, "", known.data(), nullptr)) != -1;) {
        switch (letter) {
            case 'u': options.paths.undercroft = optarg; break;
            case 'k': options.paths.kernel = optarg; break;
            case 'i': options.paths.initrd = optarg; break;
            case 'm': options.paths.memory = optarg; break;
            case 'd': options.paths.disk = optarg; break;
            case 'q': options.paths.qemu = optarg; break;
            case 'r': options.runs = std::atoi(optarg); break;
            case 'l': options.limit_s = std::atof(optarg); break;
            case 'j': options.json = true; break;
            default: return 2;
        }
    }
    if (options.runs < 1 || options.limit_s <= 0 || options.paths.kernel.empty() ||
        options.paths.undercroft.empty()) {
        fmt::print(stderr,
                   "bench/boot: --undercroft, --kernel and --initrd are needed, --runs must be positive\n");
        return 2;
    }
    return measure(options);
}

}  // namespace
}  // namespace undercroft::bench

int main(int argc, char** argv) {
    try {
        return undercroft::bench::start(argc, argv);
    } catch (const std::exception& error) {  // of fmt: standard output is closed or full
        std::fprintf(stderr, "bench/boot: %s\n", error.what());
        return 1;
    }
}
