// SPDX-License-Identifier: Apache-2.0
// Rendezvous: how one vCPU of a machine makes sure that the others have come to a point between two guest
// instructions.
//
// A vCPU may have found a host address for a write and not have written yet. Who takes that right away (a
// page gets translated code) has to wait until the write has happened; who needs memory for himself alone (a
// locked access that crosses a page) until nobody executes.
//
// Each member has a word: odd while it executes guest code, and another value after each point between two
// instructions at which it has looked for notices. A member that waits counts as not executing, so no two
// wait for each other. Members are asked to look by a bit in their attention word; one that is halted is not
// woken for it.

#pragma once

#include "base/elsewhere.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace undercroft {

class Rendezvous {
public:
    static constexpr unsigned most_members = 64;

    // Before anybody executes. `bit` in `attention` asks the member to call pass(), also while it executes
    // `elsewhere`.
    void join(unsigned member, std::atomic<std::uint32_t>& attention, std::uint32_t bit,
              const Elsewhere* elsewhere = nullptr) noexcept;
    unsigned members() const noexcept { return members_; }

    // By the member's thread. Between enter() and leave() it may execute guest code.
    void enter(unsigned member);
    void leave(unsigned member) noexcept;
    // Between two instructions. Waits while another member has memory for itself.
    void pass(unsigned member);

    // Any thread.
    void ask(unsigned member) noexcept {
        const Member& asked = member_[member];
        if (asked.attention == nullptr) return;
        asked.attention->fetch_or(asked.bit, std::memory_order_seq_cst);
        if (asked.elsewhere != nullptr) asked.elsewhere->interrupt();
    }

    // Between two instructions of `self`: returns when each member whose bit is set in `others` has passed,
    // and has looked for notices or will before it goes on, or does not execute. Notices may be due to `self`
    // then.
    void wait_for(unsigned self, std::uint64_t others);

    // Before `self` has translated the addresses of its instruction: nobody else executes until
    // end_exclusive(). Notices may be due to `self` then.
    void begin_exclusive(unsigned self);
    void end_exclusive(unsigned self);

private:
    struct alignas(64) Member {
        std::atomic<std::uint32_t> passage{0};  // written by the member's thread
        std::atomic<std::uint32_t> waited_for{0};
        std::atomic<std::uint32_t>* attention = nullptr;
        const Elsewhere* elsewhere = nullptr;
        std::uint32_t bit = 0;
    };

    void advance(Member& member, std::uint32_t by) noexcept;
    // Until the word is no longer `seen`.
    static void wait_for_change(Member& member, std::uint32_t seen) noexcept;
    void wait_for_end_of_exclusive();

    std::array<Member, most_members> member_;
    unsigned members_ = 0;
    std::atomic<bool> exclusive_{false};
    std::mutex exclusive_turn_;  // held by whoever has memory for himself
    std::mutex mutex_;           // of the condition; the innermost lock
    std::condition_variable exclusive_over_;
};

}  // namespace undercroft
