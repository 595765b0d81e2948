// SPDX-License-Identifier: Apache-2.0
// `--engine step`: the run loop around the single-step executor. Of loops that wait it only notices PAUSE.
#include "cpu/deliver.hpp"
#include "engine/step/step.hpp"

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
            if (executor_.step(vcpu) == StepResult::Done && executor_.paused() &&
                ++pauses_ % pause_limit == 0)
                return Exit::Pause;
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

    static constexpr unsigned pause_limit = 64;

    StepExecutor executor_;
    unsigned pauses_ = 0;
};

}  // namespace

std::unique_ptr<Engine> make_step_engine() { return std::make_unique<StepEngine>(); }

}  // namespace undercroft
