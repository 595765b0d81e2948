// SPDX-License-Identifier: Apache-2.0
// Terminal: the user's terminal in raw mode, given back however the process ends.
//
// Restored by leave(), at exit(), when a CHECK fails, and by handlers for the signals that a crash of ours
// raises (SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS), which then take their default action.
// The signals that ask a process to end (SIGTERM, SIGINT, SIGHUP, SIGQUIT) are blocked in every thread and
// read by the monitor, which leaves through here too. Nothing helps against SIGKILL: `reset` does.
//
// The terminal is a thing of the process, so this is one, too: free functions, no object.

#pragma once

#include "base/result.hpp"

namespace undercroft::terminal {

// Puts the terminal on `fd` into raw mode: no echo, no line editing, no signals by key. Nothing if it is no
// terminal.
Result<void> enter_raw_mode(int fd);

// Gives it back. Idempotent. async-signal-safe
void leave() noexcept;

// After the process was stopped and continued, when a shell may have set other modes: raw again, if it was
// raw.
void enter_again() noexcept;

bool is_raw() noexcept;

// Installs the crash handlers and the CHECK hook. Before any engine: engines install handlers on top of these
// and pass on what is not theirs. Handlers run on the thread's alternate stack.
void restore_on_crash();

}  // namespace undercroft::terminal
