// SPDX-License-Identifier: Apache-2.0
#include "trial.hpp"

#include "case_file.hpp"
#include "compare.hpp"

#include <cstring>
#include <sstream>

namespace undercroft::differential {

bool Outcome::agrees() const {
    return equal(bare, step, undefined_flags) && equal(bare, translated, undefined_flags) &&
           (!direct || equal(bare, *direct, undefined_flags));
}

bool Runners::run_by_steps(Sequence& sequence, Outcome& outcome) {
    judge.begin(sequence);
    auto watch = [this](Guest& guest) { return judge.allows(guest); };
    outcome.comparable = step.run(sequence, outcome.step, watch);
    outcome.undefined_flags = judge.undefined_flags();
    outcome.directly = !judge.deviates_directly();
    return outcome.comparable;
}

bool Runners::met_the_runner(const Ending& by_steps) const {
    return by_steps.vector == static_cast<std::uint32_t>(Vector::PF) && bare.has_own(by_steps.address);
}

Outcome Runners::run(Sequence& sequence) {
    Outcome outcome;
    if (!run_by_steps(sequence, outcome)) return outcome;
    bare.batch().sequence[0] = sequence;
    bare.start(1);
    translate.run(sequence, outcome.translated);
    if (outcome.directly) direct.run(sequence, outcome.direct.emplace());
    bare.finish();
    outcome.bare = bare.batch().result[0];
    if (!outcome.agrees() && met_the_runner(outcome.step)) outcome.comparable = false;
    return outcome;
}

namespace {

// Where memory differs, the first few bytes.
void describe_memory(std::ostringstream& text, const Image& bare, const Guest& guest, const char* engine) {
    unsigned told = 0;
    for (unsigned n = 0; n < frame_count; ++n) {
        for (std::size_t at = 0; at < page && told < 8; ++at) {
            auto one = static_cast<unsigned>(bare[n][at]);
            auto other = static_cast<unsigned>(guest.frame(n)[at]);
            if (one == other) continue;
            text << "#   frame " << std::dec << n << " + 0x" << std::hex << at << ": " << one << " bare, "
                 << other << " " << engine << "\n";
            ++told;
        }
    }
    text << std::dec;
}

void describe_one(std::ostringstream& text, const Outcome& outcome, const Ending& result,
                  const Image& bare_memory, const Guest& guest, const char* engine) {
    auto lines = differences(outcome.bare, result, outcome.undefined_flags);
    if (lines.empty()) {
        text << "# " << engine << ": agrees\n";
        return;
    }
    text << "# " << engine << ":\n";
    for (const std::string& line : lines) text << "#   " << line << " " << engine << "\n";
    describe_memory(text, bare_memory, guest, engine);
}

}  // namespace

std::string describe(Runners& runners, Sequence& sequence) {
    Outcome outcome = runners.run(sequence);
    std::ostringstream text;
    if (!outcome.comparable) return "# not comparable alone\n" + write_case(sequence);
    text << "# bare: vector " << outcome.bare.vector << " at rip 0x" << std::hex << outcome.bare.state.rip
         << std::dec << "\n";
    const Image& memory = runners.bare.batch().memory;
    describe_one(text, outcome, outcome.step, memory, runners.step.guest, "by steps");
    describe_one(text, outcome, outcome.translated, memory, runners.translate.guest, "translated");
    if (outcome.direct)
        describe_one(text, outcome, *outcome.direct, memory, runners.direct.guest, "directly");
    return text.str() + write_case(sequence);
}

}  // namespace undercroft::differential
