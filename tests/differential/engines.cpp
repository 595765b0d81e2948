// SPDX-License-Identifier: Apache-2.0
#include "base/check.hpp"
#include "guest.hpp"

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>

namespace undercroft::differential {
namespace {

constexpr unsigned most_steps = 400;

// While guest code runs, rsp is the guest's: signals run on a stack of their own.
std::atomic<Vcpu*> running = nullptr;
std::atomic<unsigned> ticks = 0;  // of the clock, since it began

// What runs for so long does not end. One tick is not enough: this process may have been stopped.
constexpr long seconds_per_tick = 10;
constexpr unsigned patience_ticks = 3;

void tick(int) {
    Vcpu* vcpu = running.load();
    if (vcpu != nullptr && ++ticks >= patience_ticks) vcpu->request(Attention::Stop);
}

// Once for each process: timers are not inherited.
void start_clock() {
    static pid_t started = 0;
    if (started == ::getpid()) return;
    started = ::getpid();
    static std::array<std::byte, 1 << 17> memory;
    stack_t own{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
    CHECK(sigaltstack(&own, nullptr) == 0);
    struct sigaction action {};
    action.sa_handler = tick;
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    CHECK(sigaction(SIGALRM, &action, nullptr) == 0);
    itimerval timer{};
    timer.it_interval.tv_sec = timer.it_value.tv_sec = seconds_per_tick;
    CHECK(setitimer(ITIMER_REAL, &timer, nullptr) == 0);
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
TranslateRunner::TranslateRunner(const Images& images, translate::DirectUse direct)
    : guest{images},
      engine_{std::move(*make_translate_engine(guest.vcpu(), {.trace_heat = 1, .direct = direct}))} {
    start_clock();
}

std::uint64_t TranslateRunner::stays() const {
    for (const auto& [name, count] : engine_->statistics())
        if (name == "stays in direct execution") return count;
    return 0;
}

void TranslateRunner::run(const Sequence& sequence, Ending& result) {
    guest.prepare(sequence);
    ticks = 0;
    running = &guest.vcpu();
    Exit exit = Exit::Pause;
    while (exit == Exit::Pause) exit = engine_->run(guest.vcpu());
    running = nullptr;
    guest.take(sequence, result);
    if (exit != Exit::Halt) result.vector = exit == Exit::Shutdown ? died : no_end;
}

}  // namespace undercroft::differential
