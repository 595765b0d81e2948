// SPDX-License-Identifier: Apache-2.0
// Not for helpers of translated code.
#include "mmu/rendezvous.hpp"

#include "base/check.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace undercroft {
namespace {

constexpr unsigned spins = 500;  // some microseconds: most members pass within them

constexpr bool executes(std::uint32_t passage) { return (passage & 1) != 0; }

void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) noexcept {
    syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

}  // namespace

void Rendezvous::join(unsigned member, std::atomic<std::uint32_t>& attention, std::uint32_t bit,
                      const Elsewhere* elsewhere) noexcept {
    CHECK(member < most_members);
    member_[member].attention = &attention;
    member_[member].bit = bit;
    member_[member].elsewhere = elsewhere;
    members_ = std::max(members_, member + 1);
}

void Rendezvous::advance(Member& member, std::uint32_t by) noexcept {
    member.passage.fetch_add(by, std::memory_order_seq_cst);
    if (member.waited_for.load(std::memory_order_seq_cst) == 0) return;
    member.waited_for.store(0, std::memory_order_seq_cst);
    futex(member.passage, FUTEX_WAKE, INT_MAX);
}

void Rendezvous::enter(unsigned member) {
    Member& self = member_[member];
    advance(self, 1);
    while (exclusive_.load(std::memory_order_seq_cst)) {
        advance(self, 1);
        wait_for_end_of_exclusive();
        advance(self, 1);
    }
}

void Rendezvous::leave(unsigned member) noexcept { advance(member_[member], 1); }

void Rendezvous::pass(unsigned member) {
    Member& self = member_[member];
    advance(self, 2);
    if (!exclusive_.load(std::memory_order_seq_cst)) return;
    leave(member);
    enter(member);
}

void Rendezvous::wait_for_change(Member& member, std::uint32_t seen) noexcept {
    for (unsigned n = 0; n < spins; ++n) {
        if (member.passage.load(std::memory_order_seq_cst) != seen) return;
        __builtin_ia32_pause();
    }
    while (member.passage.load(std::memory_order_seq_cst) == seen) {
        member.waited_for.store(1, std::memory_order_seq_cst);
        futex(member.passage, FUTEX_WAIT, seen);
    }
}

// Asked after the look at the word, as a request from before may have been served already. A member changes
// its word before it looks for notices: a change after this look means that it finds all that came before.
void Rendezvous::wait_for(unsigned self, std::uint64_t others) {
    bool executing = executes(member_[self].passage.load(std::memory_order_relaxed));
    if (executing) leave(self);
    for (; others != 0; others &= others - 1) {
        auto n = static_cast<unsigned>(__builtin_ctzll(others));
        Member& other = member_[n];
        std::uint32_t seen = other.passage.load(std::memory_order_seq_cst);
        if (!executes(seen)) continue;
        ask(n);
        wait_for_change(other, seen);
    }
    if (executing) enter(self);
}

void Rendezvous::begin_exclusive(unsigned self) {
    leave(self);
    exclusive_turn_.lock();
    exclusive_.store(true, std::memory_order_seq_cst);
    for (unsigned n = 0; n < members_; ++n) {
        if (n == self) continue;
        for (;;) {
            std::uint32_t seen = member_[n].passage.load(std::memory_order_seq_cst);
            if (!executes(seen)) break;
            ask(n);
            wait_for_change(member_[n], seen);
        }
    }
}

// In the middle of an instruction: whoever wants memory for himself next waits until we have passed.
void Rendezvous::end_exclusive(unsigned self) {
    advance(member_[self], 1);
    {
        std::lock_guard lock{mutex_};
        exclusive_.store(false, std::memory_order_seq_cst);
    }
    exclusive_over_.notify_all();
    exclusive_turn_.unlock();
}

void Rendezvous::wait_for_end_of_exclusive() {
    std::unique_lock lock{mutex_};
    exclusive_over_.wait(lock, [this] { return !exclusive_.load(std::memory_order_seq_cst); });
}

}  // namespace undercroft
