// SPDX-License-Identifier: Apache-2.0
// Boots one kernel and initramfs to its init under us and under QEMU's translator (TCG), in turn, and
// compares. To be started by the script bench/boot, which prepares all that is needed.
//
// The time is from the start of the process to the line that guests/init prints. Everybody gets the same
// kernel, initramfs, memory and kernel command line, but for one word in QEMU's favour: on its microvm the
// guest calibrates its TSC against the PIT, which takes time and, on a busy host, fails and then hangs;
// QEMU's guest is told the frequency (tsc_early_khz). QEMU is measured with `-cpu max`, and without ERMS,
// which is the fairer peer: TCG is slow at `rep movs`, and Linux then copies otherwise.

#include "launch.hpp"

#include "base/clock.hpp"

#include <fmt/core.h>
#include <getopt.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace undercroft::bench {
namespace {

constexpr std::string_view init_line = "undercroft: init reached";
constexpr std::string_view kernel_command_line =
    "console=ttyS0 panic=1 reboot=acpi mitigations=off tsc=reliable undercroft.script=poweroff";

struct Options {
    std::string undercroft, kernel, initrd, memory = "512M", qemu = "qemu-system-x86_64";
    int runs = 5;
    double limit_s = 30;  // a boot that takes longer hangs
    bool json = false;
};

struct Contestant {
    std::string name;
    std::vector<std::string> command;
    std::vector<Boot> boots;
    int hangs = 0;
};

struct Summary {
    double median = 0, least = 0, most = 0;
};

Summary summary(const std::vector<Boot>& boots, double Boot::*figure) {
    std::vector<double> values;
    for (const Boot& boot : boots) values.push_back(boot.*figure);
    std::sort(values.begin(), values.end());
    std::size_t middle = values.size() / 2;
    double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return {median, values.front(), values.back()};
}

std::vector<Contestant> contestants(const Options& options) {
    std::vector<Contestant> all;
    // The defaults of `undercroft run` are in the command line already; it appends what it is given.
    all.push_back({"undercroft",
                   {options.undercroft, "run", "--kernel", options.kernel, "--initrd", options.initrd,
                    "--memory", options.memory, "--append", "undercroft.script=poweroff"},
                   {},
                   0});
    std::string append = fmt::format("{} tsc_early_khz={}", kernel_command_line, HostClock{}.hz() / 1000);
    for (const char* cpu : {"max,-erms", "max"}) {
        all.push_back({std::string{"QEMU microvm, -cpu "} + cpu,
                       {options.qemu,      "-accel",       "tcg",     "-M",
                        "microvm",         "-cpu",         cpu,       "-m",
                        options.memory,    "-smp",         "1",       "-nodefaults",
                        "-no-user-config", "-display",     "none",    "-serial",
                        "stdio",           "-no-reboot",   "-kernel", options.kernel,
                        "-initrd",         options.initrd, "-append", append},
                       {},
                       0});
    }
    return all;
}

// One boot that counts. One that hangs is tried again, and told.
Result<void> add_boot(Contestant& contestant, const Options& options) {
    constexpr int attempts = 5;
    for (int attempt = 0; attempt < attempts; attempt++) {
        auto boot = boot_until(contestant.command, init_line, options.limit_s);
        if (!boot) return std::move(boot.error());
        if (boot->reached) {
            contestant.boots.push_back(*boot);
            return {};
        }
        contestant.hangs++;
    }
    return Error{fmt::format("{} did not reach init within {} s, {} times", contestant.name, options.limit_s,
                             attempts)};
}

void print_table(const std::vector<Contestant>& all) {
    double ours = summary(all.front().boots, &Boot::seconds).median;
    fmt::print("{:<30} {:>9} {:>15} {:>8} {:>9} {:>6} {:>6}\n", "start of the process to init", "median s",
               "min-max s", "CPU s", "RSS MiB", "hangs", "times");
    for (const Contestant& contestant : all) {
        Summary time = summary(contestant.boots, &Boot::seconds);
        fmt::print("{:<30} {:>9.3f} {:>15} {:>8.2f} {:>9.0f} {:>6} {:>6.2f}\n", contestant.name, time.median,
                   fmt::format("{:.3f}-{:.3f}", time.least, time.most),
                   summary(contestant.boots, &Boot::processor_s).median,
                   summary(contestant.boots, &Boot::peak_rss_mib).median, contestant.hangs,
                   time.median / ours);
    }
    for (std::size_t i = 1; i < all.size(); i++) {
        double theirs = summary(all[i].boots, &Boot::seconds).median;
        fmt::print("undercroft needs {:.2f} of the time of {}\n", ours / theirs, all[i].name);
    }
}

void print_json(const std::vector<Contestant>& all, const Options& options) {
    fmt::print("{{\n  \"runs\": {},\n  \"memory\": \"{}\",\n  \"contestants\": [\n", options.runs,
               options.memory);
    for (const Contestant& contestant : all) {
        Summary time = summary(contestant.boots, &Boot::seconds);
        fmt::print(
            "    {{\"name\": \"{}\", \"median_s\": {:.4f}, \"min_s\": {:.4f}, \"max_s\": {:.4f}, "
            "\"cpu_s\": {:.3f}, \"peak_rss_mib\": {:.1f}, \"hangs\": {}}}{}\n",
            contestant.name, time.median, time.least, time.most,
            summary(contestant.boots, &Boot::processor_s).median,
            summary(contestant.boots, &Boot::peak_rss_mib).median, contestant.hangs,
            &contestant == &all.back() ? "" : ",");
    }
    fmt::print("  ]\n}}\n");
}

int measure(const Options& options) {
    std::vector<Contestant> all = contestants(options);
    for (int run = 0; run < options.runs; run++) {
        for (Contestant& contestant : all) {
            if (auto done = add_boot(contestant, options); !done) {
                fmt::print(stderr, "bench/boot: {}\n", done.error().message);
                return 1;
            }
            const Boot& boot = contestant.boots.back();
            fmt::print(stderr, "run {} of {}: {:.3f} s {}\n", run + 1, options.runs, boot.seconds,
                       contestant.name);
        }
    }
    options.json ? print_json(all, options) : print_table(all);
    return 0;
}

int main(int argc, char** argv) {
    Options options;
    const std::array<option, 9> known{{{"undercroft", required_argument, nullptr, 'u'},
                                       {"kernel", required_argument, nullptr, 'k'},
                                       {"initrd", required_argument, nullptr, 'i'},
                                       {"memory", required_argument, nullptr, 'm'},
                                       {"qemu", required_argument, nullptr, 'q'},
                                       {"runs", required_argument, nullptr, 'r'},
                                       {"limit", required_argument, nullptr, 'l'},
                                       {"json", no_argument, nullptr, 'j'},
                                       {nullptr, 0, nullptr, 0}}};
    for (int letter = 0; (letter = getopt_long(argc, argv, "", known.data(), nullptr)) != -1;) {
        switch (letter) {
            case 'u': options.undercroft = optarg; break;
            case 'k': options.kernel = optarg; break;
            case 'i': options.initrd = optarg; break;
            case 'm': options.memory = optarg; break;
            case 'q': options.qemu = optarg; break;
            case 'r': options.runs = std::atoi(optarg); break;
            case 'l': options.limit_s = std::atof(optarg); break;
            case 'j': options.json = true; break;
            default: return 2;
        }
    }
    if (options.runs < 1 || options.limit_s <= 0 || options.kernel.empty() || options.undercroft.empty()) {
        fmt::print(stderr,
                   "bench/boot: --undercroft, --kernel and --initrd are needed, --runs must be positive\n");
        return 2;
    }
    return measure(options);
}

}  // namespace
}  // namespace undercroft::bench

int main(int argc, char** argv) { return undercroft::bench::main(argc, argv); }
