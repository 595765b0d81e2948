// SPDX-License-Identifier: Apache-2.0
#include "engine/step/guard.hpp"

#include "base/check.hpp"
#include "base/signal_chain.hpp"
#include "engine/step/xsave_area.hpp"
#include "x86/trap.hpp"

#include <ucontext.h>
#include <csignal>

#include <cstring>
#include <mutex>
#include <optional>

namespace undercroft {
namespace {

static_assert(offsetof(GuardedRun, host_stack) == 0 && offsetof(GuardedRun, xsave) == 8 &&
                  offsetof(GuardedRun, vcpu) == 16 && offsetof(GuardedRun, memory) == 24 &&
                  offsetof(GuardedRun, stub) == 32 && offsetof(GuardedRun, x87) == 40 &&
                  offsetof(GuardedRun, host_mxcsr) == 44,
              "run_guarded_stub addresses these fields");

// void undercroft_run_guarded_stub(GuardedRun*): callee-saved registers are on the stack at host_stack, where
// the signal handler resumes at undercroft_guarded_stub_done. fninit: nothing of the guest's x87 state may
// stay.
asm(R"(
    .text
    .type undercroft_run_guarded_stub, @function
undercroft_run_guarded_stub:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    mov %rsp, (%rdi)
    cmpl $0, 40(%rdi)
    je 1f
    mov $1, %eax
    xor %edx, %edx
    mov 8(%rdi), %rcx
    xrstor64 (%rcx)
1:  mov 24(%rdi), %rsi
    mov 32(%rdi), %rax
    mov 16(%rdi), %rdi
    call *%rax
undercroft_guarded_stub_done:
    mov (%rsp), %rdi
    cmpl $0, 40(%rdi)
    je 2f
    mov $1, %eax
    xor %edx, %edx
    mov 8(%rdi), %rcx
    xsave64 (%rcx)
    fninit
2:  ldmxcsr 44(%rdi)
    pop %rdi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .size undercroft_run_guarded_stub, .-undercroft_run_guarded_stub
)");
extern "C" void undercroft_run_guarded_stub(GuardedRun* run);
extern "C" const char undercroft_guarded_stub_done[];

thread_local GuardedRun* active_run = nullptr;

constexpr int guarded_signals[] = {SIGFPE, SIGSEGV, SIGILL};
struct sigaction previous[3];

// The exception that made Linux send the signal. What is missing here is a bug of ours, as a page fault.
std::optional<GuardedResult> result_of(greg_t exception) {  // async-signal-safe
    switch (static_cast<Vector>(exception)) {
        case Vector::DE: return GuardedResult::DivideError;
        case Vector::UD: return GuardedResult::Undefined;
        case Vector::SS:
        case Vector::GP: return GuardedResult::Protection;
        case Vector::MF: return GuardedResult::X87Error;
        case Vector::XM: return GuardedResult::SimdError;
        default: return std::nullopt;
    }
}

bool claim(ucontext_t* context) {  // async-signal-safe
    GuardedRun* run = active_run;
    if (run == nullptr) return false;
    auto rip = static_cast<std::uint64_t>(context->uc_mcontext.gregs[REG_RIP]);
    if (rip - reinterpret_cast<std::uint64_t>(run->region) >= run->region_size) return false;
    std::optional<GuardedResult> result = result_of(context->uc_mcontext.gregs[REG_TRAPNO]);
    if (!result) return false;
    run->result = *result;
    // The exception flags of the faulting instruction. x87's are saved behind the stub.
    if (*result == GuardedResult::SimdError && context->uc_mcontext.fpregs != nullptr) {
        std::uint32_t mxcsr = context->uc_mcontext.fpregs->mxcsr;
        std::memcpy(run->vcpu->xsave.data() + XsaveArea::mxcsr, &mxcsr, 4);
    }
    context->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(undercroft_guarded_stub_done);
    context->uc_mcontext.gregs[REG_RSP] = static_cast<greg_t>(run->host_stack);
    return true;
}

void handle(int signal, siginfo_t* info, void* context) {  // async-signal-safe
    if (claim(static_cast<ucontext_t*>(context))) return;
    for (unsigned i = 0; i < 3; i++) {
        if (guarded_signals[i] == signal) return pass_on(previous[i], signal, info, context);
    }
}

}  // namespace

void install_guard() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action = {};
        action.sa_sigaction = handle;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (unsigned i = 0; i < 3; i++) {
            CHECK(::sigaction(guarded_signals[i], &action, &previous[i]) == 0, "sigaction");
        }
    });
}

GuardedResult run_guarded(Vcpu& vcpu, NativeStub stub, void* memory, bool x87,
                          std::span<const std::byte> region) {
    GuardedRun run;
    run.xsave = vcpu.xsave.data();
    run.vcpu = &vcpu;
    run.memory = memory;
    run.stub = stub;
    run.x87 = x87 ? 1 : 0;
    run.region = region.data();
    run.region_size = region.size();
    active_run = &run;
    undercroft_run_guarded_stub(&run);
    active_run = nullptr;
    return run.result;
}

}  // namespace undercroft
