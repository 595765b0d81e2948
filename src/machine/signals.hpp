// SPDX-License-Identifier: Apache-2.0
// Signals: who gets them. Those that ask the process to end are read from a signalfd by the event loop; the
// threads that run vCPUs take none but what their own instructions raise.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

#include <cstddef>
#include <functional>
#include <memory>

namespace undercroft::signals {

// Blocks, in this thread and all it starts, every signal but those of a crash and of job control.
void block();

// Readable when one of SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCONT or SIGWINCH came. After block().
Result<Fd> open();
int take(int fd);  // the next one, or zero

// Ends the process by `signal`'s default action, so that the parent sees what it was.
[[noreturn]] void die_of(int signal);

// The stack that this thread's handlers run on, while the object lives.
class AlternateStack {
public:
    AlternateStack();
    AlternateStack(const AlternateStack&) = delete;
    AlternateStack& operator=(const AlternateStack&) = delete;
    ~AlternateStack();

private:
    static constexpr std::size_t size = 64 * 1024;
    std::unique_ptr<std::byte[]> memory_;
};

// For a thread that runs guest code: `body`, with such a stack.
void on_alternate_stack(const std::function<void()>& body);

}  // namespace undercroft::signals
