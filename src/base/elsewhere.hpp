// SPDX-License-Identifier: Apache-2.0
// Elsewhere: where a thread's work is done while that waits for it, if not by itself: in another process,
// which can be interrupted from every thread.
//
// Who wants the worker's attention sets a flag and calls interrupt(); the worker calls begin(), then looks at
// the flags, and only then starts the process: one of the two sees the other.

#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

namespace undercroft {

struct Elsewhere {
    static constexpr int signal = SIGUSR1;

    std::atomic<pid_t> process{0};

    void begin(pid_t in) noexcept { process.store(in, std::memory_order_seq_cst); }
    void end() noexcept { process.store(0, std::memory_order_relaxed); }
    // After a flag was set with std::memory_order_seq_cst. The process stops soon; or, if it does not execute
    // now, once more when it begins. General registers only.
    void interrupt() const noexcept {
        pid_t now = process.load(std::memory_order_seq_cst);
        if (now != 0) [[unlikely]]
            ::syscall(SYS_kill, now, signal);
    }
};

}  // namespace undercroft
