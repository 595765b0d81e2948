// SPDX-License-Identifier: Apache-2.0
// For handlers of faults that are ours only at some places of our code.

#pragma once

#include <signal.h>

namespace undercroft {

// Not ours: whoever had the signal before us gets it; if that was nobody, the instruction runs again and
// kills us, with a core. async-signal-safe.
inline void pass_on(const struct sigaction& previous, int signal, siginfo_t* info, void* context) noexcept {
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        ::sigaction(signal, &previous, nullptr);
    }
}

}  // namespace undercroft
