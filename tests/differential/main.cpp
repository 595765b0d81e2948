// SPDX-License-Identifier: Apache-2.0
// Random instruction sequences on the bare processor, by steps, translated and executed directly: all must
// end alike. docs/differential.md says how it works and how to read what it prints.
#include "case_file.hpp"
#include "coverage.hpp"
#include "job.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <new>
#include <set>
#include <string>

using namespace undercroft;
using namespace undercroft::differential;

namespace {

constexpr const char* help = R"(usage: differential [options]
  --sequences N   how many (default 100000); --forever: until stopped
  --seed S        of the sequences (default: the time); the same seed makes the same sequences
  --from I        begin with the sequence of this number
  --direct-every N  execute each Nth of them directly as well (default 1: all; 0: none)
  --jobs J        processes, each with a child that runs the bare processor (default 1)
  --differences N a job ends after so many (default 12)
  --keep DIR      write the case of each difference there (default: the working directory)
  --case FILE     run one kept case instead, or all of a folder; may be given more than once
  --coverage      print which forms of instructions were tried, and why the others were not
)";

struct Options {
    Plan plan;
    unsigned jobs = 1;
    bool coverage = false;
    std::vector<std::string> cases;
};

[[noreturn]] void usage(const char* problem) {
    std::fprintf(stderr, "differential: %s\n%s", problem, help);
    std::exit(2);
}

void add_cases(std::vector<std::string>& cases, const std::string& path) {
    if (!std::filesystem::is_directory(path)) return cases.push_back(path);
    std::set<std::string> sorted;
    for (const auto& entry : std::filesystem::directory_iterator{path}) {
        if (entry.path().extension() == ".case") sorted.insert(entry.path().string());
    }
    cases.insert(cases.end(), sorted.begin(), sorted.end());
}

Options parse(int argc, char** argv) {
    Options options;
    options.plan.seed = static_cast<std::uint64_t>(std::time(nullptr));
    for (int n = 1; n < argc; ++n) {
        std::string name = argv[n];
        auto value = [&] {
            if (n + 1 >= argc) usage((name + " needs a value").c_str());
            return std::string{argv[++n]};
        };
        auto number = [&] { return std::strtoull(value().c_str(), nullptr, 0); };
        if (name == "--help") {
            std::fputs(help, stdout);
            std::exit(0);
        } else if (name == "--sequences") {
            options.plan.sequences = number();
        } else if (name == "--seed") {
            options.plan.seed = number();
        } else if (name == "--from") {
            options.plan.from = number();
        } else if (name == "--direct-every") {
            options.plan.direct_every = number();
        } else if (name == "--jobs") {
            options.jobs = static_cast<unsigned>(number());
        } else if (name == "--differences") {
            options.plan.most_differences = static_cast<unsigned>(number());
        } else if (name == "--forever") {
            options.plan.sequences = ~0ull;
        } else if (name == "--coverage") {
            options.coverage = true;
        } else if (name == "--keep") {
            options.plan.case_folder = value();
        } else if (name == "--case") {
            add_cases(options.cases, value());
        } else {
            usage(("unknown option " + name).c_str());
        }
    }
    if (options.jobs == 0 || options.jobs > most_jobs) usage("--jobs: 1 to 64");
    return options;
}

int replay(const Forms& forms, const std::vector<std::string>& cases) {
    Runners runners{forms, nullptr};
    unsigned wrong = 0;
    for (const std::string& path : cases) {
        auto sequence = read_case(path);
        if (!sequence) {
            std::fprintf(stderr, "differential: %s\n", sequence.error().message.c_str());
            return 2;
        }
        Outcome outcome = runners.run(*sequence);
        if (outcome.comparable && outcome.agrees()) continue;
        ++wrong;
        std::printf("%s:\n%s\n", path.c_str(), describe(runners, *sequence).c_str());
    }
    std::printf("%zu cases, %u of them differ\n", cases.size(), wrong);
    return wrong == 0 ? 0 : 1;
}

// How many jobs ended badly.
unsigned run_jobs(const Forms& forms, const Options& options, Progress& progress) {
    std::vector<pid_t> jobs;
    for (unsigned n = 0; n < options.jobs; ++n) {
        pid_t job = ::fork();
        if (job == 0) {
            run_job(forms, options.plan, n, options.jobs, progress);
            std::fflush(stdout);
            ::_exit(0);
        }
        jobs.push_back(job);
    }
    unsigned bad = 0;
    for (unsigned n = 0; n < options.jobs; ++n) {
        int status = 0;
        ::waitpid(jobs[n], &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
        ++bad;
        std::printf("job %u died (status %#x) at sequence %llu of seed %llu\n", n,
                    static_cast<unsigned>(status), static_cast<unsigned long long>(progress.at[n].load()),
                    static_cast<unsigned long long>(options.plan.seed));
    }
    return bad;
}

// Most go in and come out more than once.
bool were_direct(const Progress& progress) {
    std::uint64_t wanted = progress.direct.load();
    std::uint64_t stays = progress.direct_stays.load();
    if (wanted != 0)
        std::printf("%llu of them executed directly, in %llu stays\n",
                    static_cast<unsigned long long>(wanted), static_cast<unsigned long long>(stays));
    if (stays >= wanted / 2) return true;
    std::printf("the host does not execute directly what should be\n");
    return false;
}

}  // namespace

int main(int argc, char** argv) {
    Options options = parse(argc, argv);
    Forms forms;
    if (!options.cases.empty()) return replay(forms, options.cases);
    std::printf("seed %llu, %u jobs\n", static_cast<unsigned long long>(options.plan.seed), options.jobs);
    std::fflush(stdout);
    void* shared =
        ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 2;
    auto& progress = *new (shared) Progress;
    std::time_t start = std::time(nullptr);
    unsigned bad = run_jobs(forms, options, progress);
    std::printf("%llu sequences compared, %llu left out, %llu differ; %llu instructions, %lld s\n",
                static_cast<unsigned long long>(progress.compared.load()),
                static_cast<unsigned long long>(progress.left_out.load()),
                static_cast<unsigned long long>(progress.different.load()),
                static_cast<unsigned long long>(executed(forms, progress)),
                static_cast<long long>(std::time(nullptr) - start));
    bool direct = were_direct(progress);
    unsigned holes = options.coverage ? print_coverage(forms, progress) : 0;
    return bad == 0 && progress.different.load() == 0 && direct && holes == 0 ? 0 : 1;
}
