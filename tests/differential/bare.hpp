// SPDX-License-Identifier: Apache-2.0
// Runs sequences on the bare processor: in a child process, a batch at a time through shared memory.
//
// The child maps layout.hpp's pages, loads all registers, jumps into the sequence and gets out of it at the
// exit or by a signal. A seccomp filter kills it should the sequence make a system call.

#pragma once

#include "image.hpp"
#include "state.hpp"

#include <sys/types.h>

#include <atomic>
#include <span>

namespace undercroft::differential {

inline constexpr unsigned batch_size = 256;

struct Batch {
    std::atomic<std::uint32_t> state;  // Idle, Work, Done: see bare.cpp
    std::atomic<std::uint32_t> at;     // the sequence that runs
    std::uint32_t first;
    std::uint32_t count;
    std::array<Sequence, batch_size> sequence;
    std::array<Ending, batch_size> result;
    Image memory;  // as a batch of one has left it
};

class BareRunner {
public:
    explicit BareRunner(const Images& images);
    ~BareRunner();
    BareRunner(const BareRunner&) = delete;
    BareRunner& operator=(const BareRunner&) = delete;

    Batch& batch() { return *batch_; }
    // Begins with the first `count` sequences of the batch. Nothing of it is to be touched before finish().
    void start(unsigned count);
    void finish();
    // Is there something of the child's own at the address: its stack, its libraries ...?
    bool has_own(std::uint64_t address) const;

private:
    void spawn();
    void replace_child(std::uint32_t verdict);
    void go_on_from(std::uint32_t first);

    const Images& images_;
    Batch* batch_;
    pid_t child_ = -1;
};

// In the child: runs one batch. Defined in bare_child.cpp.
class BareChild {
public:
    explicit BareChild(const Images& images);
    void run(const Sequence& sequence, Ending& result);
    const std::byte* frames() const { return frames_; }
    // No system calls but those that waiting needs, and none at all from below 4 GiB.
    static void confine();

private:
    const Images& images_;
    std::byte* frames_;  // all frames, writable
};

}  // namespace undercroft::differential
