// SPDX-License-Identifier: Apache-2.0
#include "disk/guarded_copy.hpp"

#include "base/check.hpp"
#include "base/signal_chain.hpp"

#include <signal.h>
#include <ucontext.h>

namespace undercroft {
namespace {

// bool undercroft_guarded_copy(to, from, length): two instructions touch the file, and where either of them
// fails, the signal handler goes on at undercroft_guarded_copy_failed.
asm(R"(
    .text
    .type undercroft_guarded_copy, @function
undercroft_guarded_copy:
    mov %rdx, %rcx
    shr $3, %rcx
undercroft_guarded_copy_words:
    rep movsq
    mov %edx, %ecx
    and $7, %ecx
undercroft_guarded_copy_bytes:
    rep movsb
    mov $1, %eax
    ret
undercroft_guarded_copy_failed:
    xor %eax, %eax
    ret
    .size undercroft_guarded_copy, .-undercroft_guarded_copy
)");
extern "C" bool undercroft_guarded_copy(std::byte* to, const std::byte* from, std::size_t length);
extern "C" const char undercroft_guarded_copy_words[];
extern "C" const char undercroft_guarded_copy_bytes[];
extern "C" const char undercroft_guarded_copy_failed[];

struct sigaction previous;

void handle(int signal, siginfo_t* info, void* context) {  // async-signal-safe
    greg_t& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
    if (rip == reinterpret_cast<greg_t>(undercroft_guarded_copy_words) ||
        rip == reinterpret_cast<greg_t>(undercroft_guarded_copy_bytes)) {
        rip = reinterpret_cast<greg_t>(undercroft_guarded_copy_failed);
    } else {
        pass_on(previous, signal, info, context);
    }
}

bool install() {
    struct sigaction action {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    CHECK(::sigaction(SIGBUS, &action, &previous) == 0);
    return true;
}

}  // namespace

bool guarded_copy(std::byte* to, const std::byte* from, std::size_t length) noexcept {
    static const bool installed = install();
    return installed && undercroft_guarded_copy(to, from, length);
}

}  // namespace undercroft
