// SPDX-License-Identifier: Apache-2.0
// The single-step executor: one guest instruction, in any mode.
//
// Decode (Zydis; cached, validated by comparing the instruction's bytes), resolve memory operands through the
// MMU, run the real instruction in a small stub with the operand redirected to a bounce buffer, commit.
// Control transfer, stack, string, segment and system instructions are written out by hand on top of cpu/.
//
// It is the fallback for everything unusual in translated code, and `--engine step`.

#pragma once

#include "cpu/vcpu.hpp"
#include "engine/engine.hpp"

#include <cstdint>
#include <memory>

namespace undercroft {

enum class StepResult : std::uint8_t {
    Done,     // one instruction (or one iteration chunk of a rep string instruction) was executed
    Trapped,  // an exception was delivered to the guest instead (or after, for traps): vcpu.rip is its
              // handler's
    Halted,   // HLT: vcpu.activity is Halted, RIP is past it
};

class StepExecutor {
public:
    StepExecutor();
    ~StepExecutor();
    StepExecutor(const StepExecutor&) = delete;
    StepExecutor& operator=(const StepExecutor&) = delete;

    // Executes the instruction at vcpu.rip. Requires the vCPU at rest, vector state in vcpu.xsave. Faults are
    // delivered through cpu/deliver. Clears interrupt_shadow unless the instruction set it; raises #DB for TF
    // (after) and for hardware breakpoints of DR7 (before for execution, after for data).
    StepResult step(Vcpu& vcpu);

    // The most elements that the next steps may execute of a repeated string instruction; at least one.
    void limit_elements(std::uint64_t limit) { element_limit_ = limit; }
    // What the last step came to: one for an instruction or a trap, and of a repeated string instruction one
    // for each element, so that it does not matter in which portions it was executed.
    std::uint64_t units() const { return units_; }

    // Was the last step PAUSE? Meaningful after StepResult::Done.
    bool paused() const { return paused_; }

    struct Statistics {
        std::uint64_t instructions = 0;
        std::uint64_t decoded = 0;
        std::uint64_t unknown = 0;  // #UD for instructions that we lack
    };
    const Statistics& statistics() const;

private:
    struct State;
    std::unique_ptr<State> state_;
    std::uint64_t element_limit_ = ~0ull;
    std::uint64_t units_ = 0;
    bool paused_ = false;
};

// `--engine step`: attend, step, repeat.
std::unique_ptr<Engine> make_step_engine();

}  // namespace undercroft
