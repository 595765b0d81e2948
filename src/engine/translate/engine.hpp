// SPDX-License-Identifier: Apache-2.0
// The translating engine: identity binary translation with the single-step executor as its fallback.

#pragma once

#include "base/result.hpp"
#include "engine/direct/direct_execution.hpp"
#include "engine/engine.hpp"
#include "engine/step/step.hpp"
#include "engine/translate/runtime/translator.hpp"

#include <memory>
#include <optional>

namespace undercroft {

class TranslateEngine final : public Engine {
public:
    // Errors as of make_translate_engine().
    static Result<std::unique_ptr<TranslateEngine>> create(Vcpu& vcpu, const translate::Options& options);

    Exit run(Vcpu& vcpu) override;
    std::string failure() const override;
    std::vector<std::pair<std::string, std::uint64_t>> statistics() const override;
    std::vector<std::pair<std::string, std::uint64_t>> ticks() const override {
        std::vector<std::pair<std::string, std::uint64_t>> all{{"translating", translating_ticks_},
                                                               {"single steps", stepping_ticks_}};
        if (direct_) all.emplace_back("direct execution", direct_->ticks());
        return all;
    }

    // For lockstep, which has a run loop of its own; with Options::counted. Between begin() and end(), on one
    // thread, advance() executes what comes next: translated code until it leaves, or one step. Attention is
    // the caller's.
    void begin(Vcpu& vcpu);
    void advance(Vcpu& vcpu);
    void end();
    // The next advance() is a step that translated code has left for: page tables may be marked for its
    // accesses already. Nothing is to come in between.
    bool step_is_next() const { return step_next_; }

private:
    TranslateEngine(std::unique_ptr<translate::Translator> translator, bool counted)
        : translator_{std::move(translator)}, steps_apart_{counted} {}

    void enter(Vcpu& vcpu, translate::Block& block);
    void after_leave(Vcpu& vcpu);
    void run_variant(Vcpu& vcpu, translate::Variant variant);
    void step(Vcpu& vcpu);
    translate::Block* translate(Vcpu& vcpu, bool& step_instead,
                                translate::Variant variant = translate::Variant::Merged);
    translate::Block* translate_trace(Vcpu& vcpu, translate::BlockExit& exit, translate::Block* plain);

    std::unique_ptr<translate::Translator> translator_;
    std::unique_ptr<direct::DirectExecution> direct_;  // null: there is none
    StepExecutor stepper_;
    bool steps_apart_;           // a step is an advance of its own
    bool step_next_ = false;     // the next one is
    std::optional<Exit> waits_;  // what run() is to return
    bool lost_ = false;          // after Exit::Lost
    std::uint64_t entries_ = 0;
    std::uint64_t attentions_ = 0;
    std::uint64_t steps_ = 0;
    std::uint64_t spins_ = 0;
    std::uint64_t pauses_ = 0;
    std::uint64_t translating_ticks_ = 0;
    std::uint64_t stepping_ticks_ = 0;
};

// One engine per vCPU; `vcpu.mmu` must be set. Needs a host with BMI2, AVX and FSGSBASE usable in user mode.
// Errors: "the translator needs a processor with ...", "code cache: ...".
Result<std::unique_ptr<Engine>> make_translate_engine(Vcpu& vcpu, const translate::Options& options = {});

}  // namespace undercroft
