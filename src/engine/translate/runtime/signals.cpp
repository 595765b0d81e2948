// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/runtime/signals.hpp"

#include "base/check.hpp"
#include "base/signal_chain.hpp"
#include "engine/translate/runtime/translator.hpp"

#include <signal.h>
#include <ucontext.h>

#include <array>
#include <mutex>

namespace undercroft::translate {
namespace {

thread_local Translator* running = nullptr;

constexpr std::array<int, 4> handled{SIGFPE, SIGSEGV, SIGILL, SIGBUS};
std::array<struct sigaction, handled.size()> previous;

// gregs indices in the order of Gpr.
constexpr std::array<int, 16> context_index{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                            REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                            REG_R12, REG_R13, REG_R14, REG_R15};

bool claim(ucontext_t& context) {  // async-signal-safe
    if (running == nullptr) return false;
    auto* registers = context.uc_mcontext.gregs;
    auto pc = reinterpret_cast<HostCode>(registers[REG_RIP]);
    const FaultPoint* point = running->fault_point(pc);
    if (point == nullptr) return false;
    Vcpu& vcpu = running->vcpu();
    EngineFrame& frame = EngineFrame::of(vcpu);
    for (int reg = 0; reg < 16; ++reg) {
        if (reg == scratch0 || reg == scratch1) continue;  // at home already
        auto n = static_cast<std::size_t>(reg);
        vcpu.gpr[n] = static_cast<std::uint64_t>(registers[context_index[n]]);
    }
    if (point->lent >= 0) vcpu.gpr[static_cast<std::size_t>(point->lent)] = frame.spill;
    if (point->flags_in_host) vcpu.set_arithmetic_flags(static_cast<std::uint64_t>(registers[REG_EFL]));
    vcpu.rip = point->rip;
    frame.instructions -= point->remaining;
    frame.leave = Leave::Step;
    frame.faulted = true;
    registers[REG_RIP] = reinterpret_cast<greg_t>(running->thunks().leave);
    registers[REG_EFL] &= ~static_cast<greg_t>(RFLAGS::DF);
    return true;
}

void handle(int signal, siginfo_t* info, void* context) {
    if (claim(*static_cast<ucontext_t*>(context))) return;
    std::size_t n = 0;
    while (handled[n] != signal) ++n;
    pass_on(previous[n], signal, info, context);
}

}  // namespace

void set_running_translator(Translator* translator) noexcept { running = translator; }

void install_signal_handlers() {
    static std::once_flag once;
    std::call_once(once, [] {
        for (std::size_t n = 0; n < handled.size(); ++n) {
            struct sigaction action {};
            action.sa_sigaction = handle;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK;
            sigemptyset(&action.sa_mask);
            CHECK(::sigaction(handled[n], &action, &previous[n]) == 0);
        }
    });
}

}  // namespace undercroft::translate
