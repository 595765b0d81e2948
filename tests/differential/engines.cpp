// SPDX-License-Identifier: Apache-2.0
#include "base/check.hpp"
#include "guest.hpp"

#include <signal.h>
#include <sys/time.h>

namespace undercroft::differential {
namespace {

constexpr unsigned most_steps = 400;

// While guest code runs, rsp is the guest's: signals run on a stack of their own.
Vcpu* running = nullptr;

void stop_running(int) {
    if (running != nullptr) running->request(Attention::Stop);
}

void prepare_signals() {
    static std::array<std::byte, 1 << 17> memory;
    stack_t own{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
    CHECK(sigaltstack(&own, nullptr) == 0);
    struct sigaction action {};
    action.sa_handler = stop_running;
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    CHECK(sigaction(SIGVTALRM, &action, nullptr) == 0);
}

// Translated code that runs for so long does not end.
void set_patience(long seconds) {
    itimerval timer{};
    timer.it_value.tv_sec = seconds;
    setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

}  // namespace

bool StepRunner::run(Sequence& sequence, Ending& result, const std::function<bool(Guest&)>& watch) {
    guest.prepare(sequence);
    Vcpu& vcpu = guest.vcpu();
    for (unsigned n = 0; n < most_steps; ++n) {
        if (guest.in_handler() || is_exit(vcpu.rip)) {
            guest.take(sequence, result);
            return true;
        }
        if (!watch(guest)) return false;
        executor_.step(vcpu);
    }
    return false;
}

// Loops are short here: the second round already is a trace's.
// Loops become traces soon.
TranslateRunner::TranslateRunner(const Images& images)
    : guest{images}, engine_{std::move(*make_translate_engine(guest.vcpu(), {.trace_heat = 1}))} {
    prepare_signals();
}

TranslateRunner::~TranslateRunner() { set_patience(0); }

void TranslateRunner::run(const Sequence& sequence, Ending& result) {
    guest.prepare(sequence);
    static thread_local unsigned runs = 0;
    running = &guest.vcpu();
    if (runs++ % 64 == 0) set_patience(10);
    Exit exit = Exit::Pause;
    while (exit == Exit::Pause) exit = engine_->run(guest.vcpu());
    running = nullptr;
    guest.take(sequence, result);
    if (exit != Exit::Halt) result.vector = exit == Exit::Shutdown ? died : no_end;
}

}  // namespace undercroft::differential
