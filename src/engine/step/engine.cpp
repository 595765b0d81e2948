// SPDX-License-Identifier: Apache-2.0
// `--engine step`: the run loop around the single-step executor. Of loops that wait it notices those with
// PAUSE, and a branch to itself.
#include "cpu/deliver.hpp"
#include "engine/step/step.hpp"

#include <array>

namespace undercroft {
namespace {

class StepEngine final : public Engine {
public:
    Exit run(Vcpu& vcpu) override {
        for (;;) {
            if (must_attend(vcpu)) {
                switch (attend(vcpu)) {
                    case Attended::Continue: break;
                    case Attended::Halted: return Exit::Halt;
                    case Attended::Stop: return Exit::Stop;
                    case Attended::Preempt: return Exit::Preempt;
                    case Attended::Shutdown: return Exit::Shutdown;
                }
            }
            std::uint64_t rip = vcpu.rip;
            if (executor_.step(vcpu) != StepResult::Done) continue;
            if (executor_.paused() && ++pauses_ % pause_limit == 0) return Exit::Pause;
            if (vcpu.rip == rip && changed_nothing(vcpu)) return Exit::Spin;
        }
    }

    std::vector<std::pair<std::string, std::uint64_t>> statistics() const override {
        const StepExecutor::Statistics& counted = executor_.statistics();
        return {{"instructions stepped", counted.instructions},
                {"instructions decoded", counted.decoded},
                {"unknown instructions", counted.unknown}};
    }

private:
    static bool must_attend(const Vcpu& vcpu) {
        if (vcpu.activity != Activity::Running) return true;
        if (vcpu.interrupt_shadow != 0) return false;
        return vcpu.attention.load(std::memory_order_relaxed) != 0 ||
               (vcpu.pending_interrupt != 0 && vcpu.interrupt_flag != 0) ||
               (vcpu.pending_nmi != 0 && vcpu.nmi_blocked == 0);
    }

    // The instruction at RIP went to itself. Once more with the same registers, and it always will: what
    // writes memory and goes to itself (REP, CALL) has other registers then.
    bool changed_nothing(const Vcpu& vcpu) {
        bool same = vcpu.rip == stays_at_ && vcpu.gpr == registers_;
        stays_at_ = vcpu.rip;
        registers_ = vcpu.gpr;
        return same;
    }

    static constexpr unsigned pause_limit = 64;

    StepExecutor executor_;
    unsigned pauses_ = 0;
    std::uint64_t stays_at_ = 0;
    std::array<std::uint64_t, 16> registers_{};
};

}  // namespace

std::unique_ptr<Engine> make_step_engine() { return std::make_unique<StepEngine>(); }

}  // namespace undercroft
