// SPDX-License-Identifier: Apache-2.0
#include "job.hpp"

#include "case_file.hpp"
#include "compare.hpp"
#include "generator.hpp"

#include <cstdio>
#include <fstream>
#include <memory>

namespace undercroft::differential {
namespace {

struct Entry {
    std::uint64_t index = 0;
    Outcome outcome;
};

class Job {
public:
    Job(const Forms& forms, const Plan& plan, Progress& progress, unsigned number)
        : plan_{plan},
          progress_{progress},
          number_{number},
          counts_(forms.all().size()),
          runners_{forms, counts_.data()},
          generator_{forms} {}

    bool run(std::uint64_t first, std::uint64_t count) {
        unsigned kept = by_steps(first, count);
        runners_.bare.start(kept);
        Batch& batch = runners_.bare.batch();
        for (unsigned n = 0; n < kept; ++n) {
            auto& [index, outcome] = entries_[n];
            progress_.at[number_].store(index);
            runners_.translate.run(sequences_[n], outcome.translated);
            bool direct = plan_.direct_every != 0 && index % plan_.direct_every == 0 && outcome.directly;
            if (!direct) continue;
            runners_.direct.run(sequences_[n], outcome.direct.emplace());
            ++progress_.direct;
        }
        runners_.bare.finish();
        for (unsigned n = 0; n < kept; ++n) entries_[n].outcome.bare = batch.result[n];
        progress_.compared += kept;
        progress_.left_out += count - kept;
        for (unsigned n = 0; n < kept; ++n) compare(n);
        return differences_ < plan_.most_differences;
    }

    void count() {
        progress_.direct_stays += runners_.direct.stays();
        for (std::size_t n = 0; n < counts_.size(); ++n) progress_.tried[n] += counts_[n];
    }

private:
    unsigned by_steps(std::uint64_t first, std::uint64_t count) {
        unsigned kept = 0;
        for (std::uint64_t n = 0; n < count; ++n) {
            Sequence& sequence = sequences_[kept];
            Entry& entry = entries_[kept];
            sequence = generator_.make(plan_.seed, first + n);
            progress_.at[number_].store(first + n);
            entry = {.index = first + n, .outcome = {}};
            if (!runners_.run_by_steps(sequence, entry.outcome)) continue;
            runners_.bare.batch().sequence[kept++] = sequence;
        }
        return kept;
    }

    void compare(unsigned n) {
        const Entry& entry = entries_[n];
        if (entry.outcome.agrees() || runners_.met_the_runner(entry.outcome.step)) return;
        ++differences_;
        ++progress_.different;
        tell(entry, sequences_[n]);
    }

    void tell(const Entry& entry, const Sequence& sequence) {
        std::string name = std::to_string(plan_.seed) + "-" + std::to_string(entry.index);
        std::string text =
            "# --seed " + std::to_string(plan_.seed) + " --from " + std::to_string(entry.index) + "\n";
        Sequence copy = sequence;
        Outcome alone = runners_.run(copy);
        if (alone.comparable && alone.agrees()) {
            text += "# agrees when it runs alone: what ran before it matters\n";
            auto list = [&](const Ending& ending, const char* way) {
                for (const auto& line :
                     differences(entry.outcome.bare, ending, entry.outcome.undefined_flags))
                    text += "# " + line + " " + way + "\n";
            };
            list(entry.outcome.step, "by steps");
            list(entry.outcome.translated, "translated");
            if (entry.outcome.direct) list(*entry.outcome.direct, "directly");
            text += write_case(copy);
        } else {
            Sequence shortest = shrink(runners_, copy);
            text += describe(runners_, shortest);
        }
        std::printf("%s\n", text.c_str());
        std::fflush(stdout);
        std::ofstream{plan_.case_folder + "/" + name + ".case"} << text;
    }

    const Plan& plan_;
    Progress& progress_;
    unsigned number_;
    std::vector<std::uint64_t> counts_;
    Runners runners_;
    Generator generator_;
    std::vector<Entry> entries_ = std::vector<Entry>(batch_size);
    std::vector<Sequence> sequences_ = std::vector<Sequence>(batch_size);
    unsigned differences_ = 0;
};

}  // namespace

void run_job(const Forms& forms, const Plan& plan, unsigned number, unsigned jobs, Progress& progress) {
    auto job = std::make_unique<Job>(forms, plan, progress, number);
    for (std::uint64_t first = std::uint64_t{number} * batch_size; first < plan.sequences;
         first += std::uint64_t{jobs} * batch_size) {
        std::uint64_t count = std::min<std::uint64_t>(batch_size, plan.sequences - first);
        if (!job->run(plan.from + first, count)) break;
    }
    job->count();
}

}  // namespace undercroft::differential
