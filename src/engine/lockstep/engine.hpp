// SPDX-License-Identifier: Apache-2.0
// `--engine lockstep`: both engines run the same guest side by side, and stop at the first difference.
//
// The leader is the vCPU that the machine knows, run by the translator; the follower is another vCPU with a
// memory of its own, run by the single-step executor. The leader goes first, a stretch at a time; the
// follower then executes as many instructions, with the environment's answers that the leader got
// (journal.hpp). After each stretch their registers and what the follower wrote must agree, from time to time
// all pages that either has written, and at the end all of memory. Interrupts are taken between stretches, by
// both.
//
// One processor only. What is not compared is said in state.hpp.

#pragma once

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "engine/translate/engine.hpp"

#include <cstdint>
#include <memory>

namespace undercroft {

struct LockstepOptions {
    // A stretch ends at the first poll, branch or callback after this many instructions. Zero: each block is
    // one, and none is linked to another.
    std::uint64_t every = 0;
    // Between comparisons of whole pages.
    std::uint64_t pages_every = 1 << 15;
    translate::Options translate{};  // `counted` is set, `chaining` as `every` needs it
};

// `vcpu` is connected and in its start state; it gets an environment that listens, as does its Mmu, until the
// engine is gone. Errors as of make_translate_engine(), and of the follower's memory.
Result<std::unique_ptr<Engine>> make_lockstep_engine(Vcpu& vcpu, const LockstepOptions& options = {});

}  // namespace undercroft
