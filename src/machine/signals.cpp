// SPDX-License-Identifier: Apache-2.0
#include "signals.hpp"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

namespace undercroft::signals {
namespace {

sigset_t of(std::initializer_list<int> numbers) {
    sigset_t set;
    sigemptyset(&set);
    for (int number : numbers) sigaddset(&set, number);
    return set;
}

}  // namespace

void block() {
    sigset_t set;
    sigfillset(&set);
    for (int number :
         std::array{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGTSTP, SIGTTIN}) {
        sigdelset(&set, number);
    }
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Result<Fd> open() {
    sigset_t set = of({SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCONT, SIGWINCH});
    Fd fd{signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
    if (!fd) return host_error().in("signalfd");
    return fd;
}

int take(int fd) {
    signalfd_siginfo info{};
    if (::read(fd, &info, sizeof info) != sizeof info) return 0;
    return static_cast<int>(info.ssi_signo);
}

void die_of(int number) {
    signal(number, SIG_DFL);
    sigset_t set = of({number});
    raise(number);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    _exit(128 + number);
}

AlternateStack::AlternateStack() : memory_{std::make_unique<std::byte[]>(size)} {
    stack_t stack{};
    stack.ss_sp = memory_.get();
    stack.ss_size = size;
    sigaltstack(&stack, nullptr);
}

AlternateStack::~AlternateStack() {
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
}

void on_alternate_stack(const std::function<void()>& body) {
    AlternateStack stack;
    body();
}

}  // namespace undercroft::signals
