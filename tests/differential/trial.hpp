// SPDX-License-Identifier: Apache-2.0
// One sequence, run in all four ways.

#pragma once

#include "bare.hpp"
#include "guest.hpp"
#include "judge.hpp"

#include <optional>
#include <string>

namespace undercroft::differential {

struct Outcome {
    bool comparable = false;  // the judge let it run to its end
    bool directly = false;    // it may be compared with direct execution, too
    Ending bare, step, translated;
    std::optional<Ending> direct;  // if it was run in this way, too
    std::uint32_t undefined_flags = 0;

    bool agrees() const;
};

class Runners {
public:
    Runners(const Forms& forms, std::uint64_t* counts)
        : bare{images_},
          step{images_},
          translate{images_, translate::DirectUse::Never},
          direct{images_, translate::DirectUse::Always},
          judge{forms, counts} {}

    // Alone; the sequence learns what is not to be compared.
    Outcome run(Sequence& sequence);
    // Judges it, too; false: not comparable.
    bool run_by_steps(Sequence& sequence, Outcome& outcome);
    // Did it fault where the bare runner has memory of its own? A random address finds that once in some
    // million sequences, and then there is nothing to compare.
    bool met_the_runner(const Ending& by_steps) const;

private:
    Images images_;

public:
    BareRunner bare;  // before the engines: it forks
    StepRunner step;
    TranslateRunner translate;
    TranslateRunner direct;
    Judge judge;
};

// Fewer instructions and a plainer state, with a difference still.
Sequence shrink(Runners& runners, const Sequence& sequence);

// The sequence as assembly, the state it begins with, and what differs: for people.
std::string describe(Runners& runners, Sequence& sequence);

}  // namespace undercroft::differential
