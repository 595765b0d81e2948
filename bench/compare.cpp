// SPDX-License-Identifier: Apache-2.0
// Runs the same programs natively, in a guest of ours and in guests of QEMU's translator, interleaved row by
// row, and compares. To be started by the script bench/compare, which prepares all that is needed.
//
// In each run all machines boot, one after the other, and then wait; each row is measured in one after the
// other, so that what else the host has to do meets all of them alike. The guests measure with their own
// clocks; that they do not flatter themselves is checked against the host's.

#include "comparison.hpp"
#include "report.hpp"

#include <fmt/core.h>
#include <getopt.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace undercroft::bench {
namespace {

struct Options {
    Plan plan;
    std::string out;
    bool json = false;
};

int refuse(const std::string& reason) {
    fmt::print(stderr, "bench/compare: {}\n", reason);
    return 2;
}

// Empty: all.
Result<std::vector<const Row*>> rows_named(const std::string& names) {
    std::vector<const Row*> chosen;
    if (names.empty()) {
        for (const Row& row : rows()) chosen.push_back(&row);
        return chosen;
    }
    std::istringstream list{names};
    for (std::string name; std::getline(list, name, ',');) {
        const Row* row = find_row(name);
        if (row == nullptr) return Error{"there is no row '" + name + "'; bench/compare --rows lists them"};
        chosen.push_back(row);
    }
    return chosen;
}

Result<void> write_files(const Options& options, const Results& results) {
    std::error_code failure;
    std::filesystem::create_directories(options.out, failure);
    const std::array<std::pair<const char*, std::string>, 3> files{
        {{"compare.md", markdown(results)}, {"compare.json", json(results)}, {"compare.svg", svg(results)}}};
    for (const auto& [name, contents] : files) {
        std::string path = options.out + "/" + name;
        std::ofstream file{path};
        file << contents;
        if (!file.flush()) return Error{"cannot write '" + path + "'"};
    }
    return {};
}

int measure(const Options& options) {
    auto results = compare(options.plan);
    if (!results) {
        fmt::print(stderr, "bench/compare: {}\n", results.error().message);
        return 1;
    }
    fmt::print("{}", options.json ? json(*results) : markdown(*results));
    if (auto written = write_files(options, *results); !written) return refuse(written.error().message);
    fmt::print(stderr, "bench/compare: wrote compare.md, compare.json and compare.svg to {}\n", options.out);
    return 0;
}

int main(int argc, char** argv) {
    Options options;
    Paths& paths = options.plan.paths;
    std::string only;
    const std::array<option, 13> known{{{"undercroft", required_argument, nullptr, 'u'},
                                        {"kernel", required_argument, nullptr, 'k'},
                                        {"initrd", required_argument, nullptr, 'i'},
                                        {"programs", required_argument, nullptr, 'p'},
                                        {"agent", required_argument, nullptr, 'a'},
                                        {"out", required_argument, nullptr, 'o'},
                                        {"qemu", required_argument, nullptr, 'q'},
                                        {"runs", required_argument, nullptr, 'r'},
                                        {"only", required_argument, nullptr, 'y'},
                                        {"no-qemu", no_argument, nullptr, 'n'},
                                        {"json", no_argument, nullptr, 'j'},
                                        {"rows", no_argument, nullptr, 'l'},
                                        {nullptr, 0, nullptr, 0}}};
    for (int letter = 0; (letter = getopt_long(argc, argv, "", known.data(), nullptr)) != -1;) {
        switch (letter) {
            case 'u': paths.undercroft = optarg; break;
            case 'k': paths.kernel = optarg; break;
            case 'i': paths.initrd = optarg; break;
            case 'p': paths.programs = optarg; break;
            case 'a': paths.agent = optarg; break;
            case 'o': options.out = optarg; break;
            case 'q': paths.qemu = optarg; break;
            case 'r': options.plan.runs = std::atoi(optarg); break;
            case 'y': only = optarg; break;
            case 'n': options.plan.with_qemu = false; break;
            case 'j': options.json = true; break;
            case 'l':
                for (const Row& row : rows()) fmt::print("{:<14} {}\n", row.name, row.title);
                return 0;
            default: return 2;
        }
    }
    if (options.plan.runs < 1 || options.plan.runs > 1000) return refuse("--runs must be 1 to 1000");
    auto chosen = rows_named(only);
    if (!chosen) return refuse(chosen.error().message);
    options.plan.rows = *chosen;
    if (paths.undercroft.empty() || paths.kernel.empty() || paths.initrd.empty() || paths.programs.empty() ||
        paths.agent.empty() || options.out.empty())
        return refuse("--undercroft, --kernel, --initrd, --programs, --agent and --out are needed");
    return measure(options);
}

}  // namespace
}  // namespace undercroft::bench

int main(int argc, char** argv) { return undercroft::bench::main(argc, argv); }
