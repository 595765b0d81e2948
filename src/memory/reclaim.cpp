// SPDX-License-Identifier: Apache-2.0
#include "memory/reclaim.hpp"

#include "memory/swap_file.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace undercroft {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t pages_at_once = 64;  // of one machine before the next one's turn
constexpr auto between_tries = 50ms;

}  // namespace

Reclaim::Reclaim(std::shared_ptr<FramePool> pool, std::function<void(const std::string&)> say)
    : pool_{std::move(pool)}, say_{std::move(say)}, thread_{[this] { run(); }} {}

Reclaim::~Reclaim() {
    {
        std::lock_guard lock{mutex_};
        ending_ = true;
    }
    changed_.notify_all();
    pool_->wake_waiter();
    thread_.join();
}

void Reclaim::add(MemoryTenant& tenant) {
    std::lock_guard lock{mutex_};
    subjects_.push_back({&tenant});
}

void Reclaim::remove(MemoryTenant& tenant) {
    std::lock_guard lock{mutex_};
    subjects_.remove_if([&](Subject& subject) {
        if (subject.tenant != &tenant) return false;
        if (std::exchange(subject.held, false)) tenant.release();
        return true;
    });
    changed_.notify_all();
}

ReclaimFigures Reclaim::figures() const {
    std::lock_guard lock{mutex_};
    return figures_;
}

void Reclaim::run() {
    for (;;) {
        pool_->wait_until_over_limit();
        std::unique_lock lock{mutex_};
        if (ending_) return;
        if (!pool_->is_over_limit()) continue;
        ++figures_.times;
        hold_all();
        while (!ending_ && !make_room(lock)) {
        }
        release_all();
    }
}

bool Reclaim::hold_all() {
    bool all = true;
    for (Subject& subject : subjects_) {
        if (!subject.held) subject.held = subject.tenant->hold();
        all &= subject.held;
    }
    return all;
}

void Reclaim::release_all() {
    for (Subject& subject : subjects_)
        if (std::exchange(subject.held, false)) subject.tenant->release();
}

// True: there is room again. Waits a little if there is none.
bool Reclaim::make_room(std::unique_lock<std::mutex>& lock) {
    bool failed = false;
    while (pool_->frames_over_low_water() > 0 && !failed) {
        hold_all();
        std::uint64_t before = pool_->in_use();
        for (Subject& subject : subjects_) {
            std::uint64_t wanted = std::min(pool_->frames_over_low_water(), pages_at_once);
            if (subject.held && wanted > 0 && !take_from(subject, wanted)) failed = true;
        }
        if (pool_->in_use() >= before) failed = true;  // nothing is left, or what it is in cannot be held
    }
    bool room = !pool_->is_over_limit();
    int reason = pool_->swap()->failure();
    if (room == figures_.stuck) {
        figures_.stuck = !room;
        say_(room ? "there is room for memory again: the machines go on"
                  : std::string{"no room for the machines' memory, they wait: swap file: "} +
                        (reason != 0 ? std::strerror(reason) : "nothing to swap"));
    }
    if (!room) changed_.wait_for(lock, between_tries);
    return room;
}

// False: the swap file takes no more.
bool Reclaim::take_from(Subject& subject, std::uint64_t frames) {
    GuestMemory& memory = subject.tenant->guest_memory();
    memory.leave_shared_frames();
    std::uint64_t limit = memory.page_limit();
    // Twice round: the first time the hand takes away the signs of use.
    for (std::uint64_t seen = 0; frames > 0 && seen < 2 * limit; ++seen) {
        std::uint64_t pfn = subject.hand++ % limit;
        PmapEntry entry = memory.entry(pfn);
        bool cold =
            entry.is_compressed() || (entry.is_private() && !memory.was_used(pfn, UseWatcher::Reclaim));
        if (!cold) continue;
        if (memory.become_zero(pfn)) {
            ++figures_.zeroed;
        } else if (memory.become_swapped(pfn)) {
            ++figures_.swapped;
        } else {
            return false;
        }
        --frames;
    }
    return true;
}

}  // namespace undercroft
