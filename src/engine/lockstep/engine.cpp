// SPDX-License-Identifier: Apache-2.0
#include "engine/lockstep/engine.hpp"

#include "base/check.hpp"
#include "cpu/deliver.hpp"
#include "engine/lockstep/history.hpp"
#include "engine/lockstep/journal.hpp"
#include "engine/lockstep/memories.hpp"
#include "engine/lockstep/state.hpp"
#include "engine/translate/runtime/frame.hpp"

#include <optional>
#include <utility>

namespace undercroft {
namespace {

using namespace lockstep;

// A processor of its own, beside the machine.
struct Follower {
    Follower(std::unique_ptr<GuestMemory> its_memory, Journal& journal)
        : memory{std::move(its_memory)},
          code_pages{memory->page_limit()},
          environment{journal},
          vcpu{std::make_unique<Vcpu>()},
          mmu{*memory, code_pages, environment, vcpu->paging, vcpu->tlb} {
        vcpu->mmu = &mmu;
        vcpu->environment = &environment;
        environment.set_mmu(mmu);
    }

    std::unique_ptr<GuestMemory> memory;
    CodePages code_pages;
    Replayer environment;
    std::unique_ptr<Vcpu> vcpu;
    Mmu mmu;
    StepExecutor executor;
};

class LockstepEngine final : public Engine {
public:
    static Result<std::unique_ptr<Engine>> create(Vcpu& vcpu, const LockstepOptions& options);
    ~LockstepEngine() override {
        leader_.mmu->set_devices(recorder_.real());
        leader_.environment = &recorder_.real();
    }

    Exit run(Vcpu& vcpu) override;
    std::string failure() const override { return failure_; }
    std::vector<std::pair<std::string, std::uint64_t>> statistics() const override;

private:
    LockstepEngine(Vcpu& vcpu, const LockstepOptions& options, std::unique_ptr<GuestMemory> memory);

    Exit go_on();
    bool attend_both(std::optional<Exit>& exit);
    bool run_stretch();
    bool step_follower(std::uint64_t instructions);
    bool compare(std::uint64_t stretch);
    bool compare_at_the_end();
    bool differ(Difference difference);
    bool differ_in_memory(const char* what, MemoryDifference memory, std::uint64_t stretch);
    translate::EngineFrame& frame() { return translate::EngineFrame::of(leader_); }

    const LockstepOptions options_;
    Vcpu& leader_;
    Journal journal_;
    Recorder recorder_;
    Follower follower_;
    Memories memories_;
    std::unique_ptr<TranslateEngine> translate_;
    History history_;
    std::string failure_;
    std::uint64_t instructions_ = 0;
    std::uint64_t stretches_ = 0;
    std::uint64_t page_comparisons_ = 0;
    std::uint64_t pages_compared_at_ = 0;  // in instructions
};

Result<std::unique_ptr<GuestMemory>> copy_of(const GuestMemory& memory) {
    auto copy = GuestMemory::create({memory.regions().begin(), memory.regions().end()});
    if (!copy) return std::move(copy.error()).in("lockstep");
    for (std::uint64_t pfn : memory.pages_with_frames()) {
        GuestPhysical page{pfn << 12};
        CHECK((*copy)->write(page, {memory.readable(page), page_size}));
    }
    return copy;
}

Result<std::unique_ptr<Engine>> LockstepEngine::create(Vcpu& vcpu, const LockstepOptions& options) {
    auto memory = copy_of(vcpu.mmu->memory());
    if (!memory) return std::move(memory.error());
    std::unique_ptr<LockstepEngine> engine{new LockstepEngine{vcpu, options, *std::move(memory)}};
    translate::Options translated = options.translate;
    translated.counted = true;
    translated.chaining = options.every != 0;
    auto translate = TranslateEngine::create(vcpu, translated);
    if (!translate) return std::move(translate.error());
    engine->translate_ = *std::move(translate);
    return std::unique_ptr<Engine>{std::move(engine)};
}

LockstepEngine::LockstepEngine(Vcpu& vcpu, const LockstepOptions& options,
                               std::unique_ptr<GuestMemory> memory)
    : options_{options},
      leader_{vcpu},
      recorder_{*vcpu.environment, journal_},
      follower_{std::move(memory), journal_},
      memories_{*vcpu.mmu, follower_.mmu, recorder_} {
    copy_state(vcpu, *follower_.vcpu);
    follower_.mmu.flush_all();
    leader_.environment = &recorder_;
    leader_.mmu->set_devices(recorder_);
}

Exit LockstepEngine::run(Vcpu& vcpu) {
    CHECK(&vcpu == &leader_, "lockstep runs the vCPU it was made for");
    translate_->begin(leader_);
    Exit exit = go_on();
    translate_->end();
    return exit;
}

Exit LockstepEngine::go_on() {
    for (;;) {
        std::optional<Exit> exit;
        if (!attend_both(exit)) return Exit::Differ;
        if (exit) return *exit;
        do {
            if (!run_stretch()) return Exit::Differ;
        } while (translate_->step_is_next());
    }
}

// False: they differ. Both get the same bits, whatever others add to the leader's word meanwhile.
bool LockstepEngine::attend_both(std::optional<Exit>& exit) {
    std::uint32_t bits = leader_.attention.exchange(0, std::memory_order_acquire);
    if ((bits & Attention::Stop) != 0) {
        leader_.request(bits & ~Attention::Stop);
        exit = Exit::Stop;
        return compare_at_the_end();
    }
    if ((bits & Attention::Preempt) != 0) {
        leader_.request(bits & ~Attention::Preempt);
        exit = Exit::Preempt;
        return true;
    }
    Vcpu& follower = *follower_.vcpu;
    bool waiting = (leader_.pending_interrupt != 0 && leader_.interrupt_flag != 0) ||
                   (leader_.pending_nmi != 0 && leader_.nmi_blocked == 0);
    bool looks = bits != 0 || waiting;
    if (looks) {
        settle_flags(leader_, follower, frame().live_flags);
        frame().live_flags = static_cast<std::uint32_t>(RFLAGS::Arithmetic);
    }
    Attended attended = attend_to(leader_, bits);
    follower.attention.store(0, std::memory_order_relaxed);
    attend_to(follower, bits);
    if (looks && !compare(0)) return false;
    switch (attended) {
        case Attended::Continue: return true;
        case Attended::Halted: exit = Exit::Halt; return true;
        case Attended::Stop:
        case Attended::Preempt: break;  // not by attend_to()
        case Attended::Shutdown: exit = Exit::Shutdown; return compare_at_the_end();
    }
    return true;
}

bool LockstepEngine::run_stretch() {
    Stretch stretch{.from = leader_.rip};
    std::int64_t before = frame().instructions;
    frame().instruction_limit = before + static_cast<std::int64_t>(options_.every);
    translate_->advance(leader_);
    CHECK(frame().instructions >= before, "a stretch of less than no instructions");
    stretch.instructions = static_cast<std::uint64_t>(frame().instructions - before);
    stretch.to = leader_.rip;
    history_.leader.add(stretch);
    ++stretches_;
    return step_follower(stretch.instructions) && compare(stretch.instructions);
}

bool LockstepEngine::step_follower(std::uint64_t instructions) {
    Vcpu& vcpu = *follower_.vcpu;
    StepExecutor& executor = follower_.executor;
    for (std::uint64_t done = 0; done < instructions; done += executor.units()) {
        history_.follower.add({vcpu.rip, vcpu.rflags(), vcpu.gpr});
        memories_.set_writer(vcpu.rip);
        executor.limit_elements(instructions - done);
        executor.step(vcpu);
    }
    instructions_ += instructions;
    return true;
}

bool LockstepEngine::compare(std::uint64_t stretch) {
    Vcpu& follower = *follower_.vcpu;
    std::uint32_t live = frame().live_flags;
    if (!follower_.environment.complaint().empty())
        return differ({.what = "what they ask of devices: " + follower_.environment.complaint(),
                       .fields = differences(leader_, follower, live),
                       .last_stretch = stretch});
    if (!same_state(leader_, follower, live) || !same_vectors(leader_, follower)) {
        Difference difference{.fields = differences(leader_, follower, live), .last_stretch = stretch};
        for (const FieldDifference& field : difference.fields)
            difference.what += (difference.what.empty() ? "" : ", ") + field.name;
        return differ(std::move(difference));
    }
    if (const Event* event = journal_.left())
        return differ(
            {.what = "only translated code asks devices: " + describe(*event), .last_stretch = stretch});
    journal_.clear();
    if (translate_->step_is_next()) return true;
    if (auto memory = memories_.compare_recent()) return differ_in_memory("memory", *memory, stretch);
    if (instructions_ - pages_compared_at_ < options_.pages_every) return true;
    ++page_comparisons_;
    std::uint64_t since = instructions_ - pages_compared_at_;
    pages_compared_at_ = instructions_;
    if (auto memory = memories_.compare_written())
        return differ_in_memory("a page of memory", *memory, since);
    return true;
}

bool LockstepEngine::compare_at_the_end() {
    if (auto memory = memories_.compare_all())
        return differ_in_memory("memory at the end", *memory, instructions_ - pages_compared_at_);
    return true;
}

bool LockstepEngine::differ(Difference difference) {
    difference.instructions = instructions_;
    difference.rip = likely_culprit(*follower_.vcpu, history_, difference);
    failure_ = report(leader_, *follower_.vcpu, history_, difference);
    return false;
}

bool LockstepEngine::differ_in_memory(const char* what, MemoryDifference memory, std::uint64_t stretch) {
    return differ({.what = what, .memory = memory, .last_stretch = stretch});
}

std::vector<std::pair<std::string, std::uint64_t>> LockstepEngine::statistics() const {
    auto figures = translate_->statistics();
    figures.insert(figures.begin(), {{"instructions in lockstep", instructions_},
                                     {"comparisons", stretches_},
                                     {"comparisons of whole pages", page_comparisons_}});
    return figures;
}

}  // namespace

Result<std::unique_ptr<Engine>> make_lockstep_engine(Vcpu& vcpu, const LockstepOptions& options) {
    return LockstepEngine::create(vcpu, options);
}

}  // namespace undercroft
