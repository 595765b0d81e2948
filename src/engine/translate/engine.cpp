// SPDX-License-Identifier: Apache-2.0
// The run loop: attention, translated code, single steps, exits.
#include "engine/translate/engine.hpp"

#include "base/stopwatch.hpp"
#include "cpu/deliver.hpp"
#include "engine/translate/runtime/signals.hpp"

#include <asm/prctl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <utility>

namespace undercroft {
namespace {

using namespace translate;

constexpr unsigned long hwcap2_fsgsbase = 1ul << 1;

void set_gs_base(void* base) { asm volatile("wrgsbase %0" : : "r"(base)); }

std::optional<Exit> exit_for(Attended attended) {
    switch (attended) {
        case Attended::Continue: return std::nullopt;
        case Attended::Halted: return Exit::Halt;
        case Attended::Stop: return Exit::Stop;
        case Attended::Preempt: return Exit::Preempt;
        case Attended::Shutdown: return Exit::Shutdown;
    }
    return std::nullopt;
}

}  // namespace

void TranslateEngine::enter(Vcpu& vcpu, Block& block) {
    ++entries_;
    Translator::forget_resume_flag(vcpu);
    EngineFrame& frame = EngineFrame::of(vcpu);
    frame.entry = reinterpret_cast<std::uintptr_t>(block.frame_entry);
    frame.leave_exit = nullptr;
    frame.spin_deadline = 0;
    frame.live_flags = static_cast<std::uint32_t>(RFLAGS::Arithmetic);
    reinterpret_cast<void (*)()>(reinterpret_cast<std::uintptr_t>(translator_->thunks().enter))();
    translator_->correct_x87_pointers();
}

void TranslateEngine::step(Vcpu& vcpu) {
    Stopwatch stopwatch{stepping_ticks_};
    ++steps_;
    stepper_.step(vcpu);
    EngineFrame& frame = EngineFrame::of(vcpu);
    frame.instructions += static_cast<std::int64_t>(stepper_.units());
    frame.live_flags = static_cast<std::uint32_t>(RFLAGS::Arithmetic);
    translator_->check_assumptions(vcpu);
}

Block* TranslateEngine::translate(Vcpu& vcpu, bool& step_instead, Variant variant) {
    Stopwatch stopwatch{translating_ticks_};
    return translator_->translate(vcpu, step_instead, variant);
}

// The loop that `exit` closes is hot, and `plain` its head: the trace, or that. Null: everything was
// forgotten.
Block* TranslateEngine::translate_trace(Vcpu& vcpu, BlockExit& exit, Block* plain) {
    Stopwatch stopwatch{translating_ticks_};
    Block* trace = translator_->translate_trace(vcpu);
    if (EngineFrame::of(vcpu).leave_exit == nullptr) return nullptr;
    if (trace != nullptr) return trace;
    exit.rounds = 0;
    return plain;
}

// A shared check failed, and from here to the end of its block every access is checked by itself; or an
// instruction writes across a page border.
void TranslateEngine::run_variant(Vcpu& vcpu, Variant variant) {
    EngineFrame::of(vcpu).leave_variant = Variant::Merged;
    bool step_instead = false;
    Block* block = translate(vcpu, step_instead, variant);
    if (block != nullptr) {
        enter(vcpu, *block);
        after_leave(vcpu);
    } else if (step_instead) {
        step(vcpu);
    }
}

void TranslateEngine::after_leave(Vcpu& vcpu) {
    EngineFrame& frame = EngineFrame::of(vcpu);
    switch (frame.leave) {
        case Leave::Step:
            // A processor that raises a SIMD exception has set flags in MXCSR: nothing to compare before the
            // step.
            step_next_ = steps_apart_ && !frame.faulted;
            frame.faulted = false;
            if (!step_next_) step(vcpu);
            break;
        case Leave::Attention: ++attentions_; break;
        case Leave::Lookup: break;
        case Leave::Spin:
            ++spins_;
            waits_ = Exit::Spin;
            break;
        case Leave::Pause:
            ++pauses_;
            waits_ = Exit::Pause;
            break;
        case Leave::Translate: {
            auto* exit = frame.leave_exit;
            if (frame.leave_variant != Variant::Merged) {
                run_variant(vcpu, frame.leave_variant);
                break;
            }
            if (exit == nullptr || vcpu.attention.load(std::memory_order_relaxed) != 0) break;
            bool step_instead = false;
            Block* block = translator_->find(vcpu);
            if (block == nullptr)
                block = translate(vcpu, step_instead);
            else if (exit->is_hot() && !block->trace)
                block = translate_trace(vcpu, *exit, block);
            // A full cache was emptied on the way, and the exit with it: leave_exit is null then.
            if (block != nullptr && frame.leave_exit == exit) translator_->link(*exit, *block);
            if (step_instead) step(vcpu);
            break;
        }
    }
}

void TranslateEngine::begin(Vcpu& vcpu) {
    set_gs_base(gs_base_of(vcpu));
    set_running_translator(translator_.get());
    translator_->check_assumptions(vcpu);
}

void TranslateEngine::end() {
    set_running_translator(nullptr);
    if (direct_) direct_->end_turn();
}

void TranslateEngine::advance(Vcpu& vcpu) {
    if (step_next_ || !translator_->translatable(vcpu)) {
        step_next_ = false;
        step(vcpu);
        return;
    }
    Block* block = translator_->find(vcpu);
    bool step_instead = false;
    if (block == nullptr) block = translate(vcpu, step_instead);
    if (block != nullptr) {
        enter(vcpu, *block);
        after_leave(vcpu);
    } else if (step_instead) {
        step(vcpu);
    }
}

Exit TranslateEngine::run(Vcpu& vcpu) {
    begin(vcpu);
    for (;;) {
        if (direct_) direct_->before_attention(vcpu);
        if (auto exit = exit_for(attend(vcpu))) {
            end();
            return *exit;
        }
        direct::Next next = direct_ ? direct_->execute(vcpu) : direct::Next::Translate;
        if (next == direct::Next::Attention) continue;
        if (next == direct::Next::Lost) {
            lost_ = true;
            end();
            return Exit::Lost;
        }
        advance(vcpu);
        if (waits_) {
            end();
            return *std::exchange(waits_, std::nullopt);
        }
    }
}

std::string TranslateEngine::failure() const {
    if (!lost_) return {};
    return "direct execution: the guest process was killed, by the host for want of memory or by somebody "
           "on it: the guest's state is lost";
}

std::vector<std::pair<std::string, std::uint64_t>> TranslateEngine::statistics() const {
    const CacheStatistics& cache = translator_->statistics();
    std::vector<std::pair<std::string, std::uint64_t>> all{
        {"guest instructions translated", translator_->guest_instructions()},
        {"guest code bytes translated", cache.guest_bytes},
        {"blocks translated", cache.blocks},
        {"of them, traces of loops", cache.traces},
        {"of them, copies for another address", cache.copies},
        {"code cache bytes", translator_->memory().code_used()},
        {"code cache record bytes", translator_->memory().records_used()},
        {"code cache flushes", cache.flushes},
        {"direct exits linked", cache.links},
        {"writes to code", cache.code_writes},
        {"blocks invalidated", cache.invalidated},
        {"entries into translated code", entries_},
        {"attention", attentions_},
        {"single steps", steps_},
        {"left while spinning", spins_},
        {"left while pausing", pauses_},
    };
    if (direct_)
        for (auto& figure : direct_->statistics()) all.push_back(std::move(figure));
    return all;
}

Result<std::unique_ptr<TranslateEngine>> TranslateEngine::create(Vcpu& vcpu,
                                                                 const translate::Options& options) {
    if (!__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("avx")) {
        return Error{"the translator needs a processor with BMI2 and AVX; use --engine step"};
    }
    if ((::getauxval(AT_HWCAP2) & hwcap2_fsgsbase) == 0) {
        return Error{"the translator needs FSGSBASE (a processor and kernel with it); use --engine step"};
    }
    auto translator = Translator::create(vcpu, options);
    if (!translator) return std::move(translator.error());
    install_signal_handlers();
    std::unique_ptr<TranslateEngine> engine{new TranslateEngine{std::move(*translator), options.counted}};
    if (options.direct != DirectUse::Never && !options.counted && vcpu.mmu->memory().pool().file() >= 0) {
        bool always = options.direct == DirectUse::Always;
        engine->direct_ = std::make_unique<direct::DirectExecution>(vcpu, *engine->translator_, always);
    }
    return engine;
}

Result<std::unique_ptr<Engine>> make_translate_engine(Vcpu& vcpu, const translate::Options& options) {
    auto engine = TranslateEngine::create(vcpu, options);
    if (!engine) return std::move(engine.error());
    return std::unique_ptr<Engine>{*std::move(engine)};
}

}  // namespace undercroft
