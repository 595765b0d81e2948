// SPDX-License-Identifier: Apache-2.0
// OneProcessor: keeps a thread and the guest process that it traces on the processor that the thread is on.
//
// One of them waits while the other one executes. Left alone, Linux wakes either on an idle processor, which
// takes it several times as long as to switch to it (20 instead of 6 us for a stop, where this was measured).
// But a pinned thread cannot go elsewhere when others want its processor, too: if both together have had less
// than they could, they are free for a while.

#pragma once

#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <ctime>

namespace undercroft {

class OneProcessor {
public:
    explicit OneProcessor(pid_t process);
    OneProcessor(const OneProcessor&) = delete;
    OneProcessor& operator=(const OneProcessor&) = delete;
    ~OneProcessor() { leave(); }

    // By the thread, before the process goes on; `now` in ticks of the TSC.
    void keep(std::uint64_t now);
    // The thread has other things to do.
    void leave();

private:
    void pin();
    std::int64_t processor_time() const;  // ns, of both

    pid_t process_;
    clockid_t process_clock_{};
    bool pinned_ = false;
    cpu_set_t before_{};  // where the thread may be
    std::uint64_t look_at_ = 0;
    std::int64_t looked_time_ = 0;
    std::int64_t looked_processor_time_ = 0;
};

}  // namespace undercroft
