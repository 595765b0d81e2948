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
    std::uint32_t undefined_flags = 0;
    Ending step, translated;
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
            progress_.at[number_].store(entries_[n].index);
            runners_.translate.run(sequences_[n], entries_[n].translated);
        }
        runners_.bare.finish();
        endings_.assign(batch.result.begin(), batch.result.begin() + kept);
        progress_.compared += kept;
        progress_.left_out += count - kept;
        for (unsigned n = 0; n < kept; ++n) compare(n);
        return differences_ < plan_.most_differences;
    }

    void count_forms() {
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
            entry.index = first + n;
            if (!runners_.run_by_steps(sequence, entry.step)) continue;
            entry.undefined_flags = runners_.judge.undefined_flags();
            runners_.bare.batch().sequence[kept++] = sequence;
        }
        return kept;
    }

    void compare(unsigned n) {
        const Entry& entry = entries_[n];
        const Ending& bare = endings_[n];
        if (equal(bare, entry.step, entry.undefined_flags) &&
            equal(bare, entry.translated, entry.undefined_flags))
            return;
        if (runners_.met_the_runner(entry.step)) return;
        ++differences_;
        ++progress_.different;
        tell(entry, bare, sequences_[n]);
    }

    void tell(const Entry& entry, const Ending& bare, const Sequence& sequence) {
        std::string name = std::to_string(plan_.seed) + "-" + std::to_string(entry.index);
        std::string text =
            "# --seed " + std::to_string(plan_.seed) + " --from " + std::to_string(entry.index) + "\n";
        Sequence copy = sequence;
        Outcome alone = runners_.run(copy);
        if (alone.comparable && alone.agrees()) {
            text += "# agrees when it runs alone: what ran before it matters\n";
            for (const auto& line : differences(bare, entry.step, entry.undefined_flags))
                text += "# " + line + " by steps\n";
            for (const auto& line : differences(bare, entry.translated, entry.undefined_flags))
                text += "# " + line + " translated\n";
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
    std::vector<Ending> endings_;
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
    job->count_forms();
}

}  // namespace undercroft::differential
