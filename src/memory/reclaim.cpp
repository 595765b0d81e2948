// SPDX-License-Identifier: Apache-2.0
#include "memory/reclaim.hpp"

#include "memory/swap_file.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace undercroft {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t pages_at_once = 256;  // of one machine before the next one's turn
constexpr auto between_tries = 50ms;
constexpr auto patience_with_balloons = 100ms;
constexpr auto between_looks = 5ms;
constexpr auto until_balloons_are_left = 1s;

// Pages that look so while their machine runs.
std::vector<std::uint64_t> zero_pages(const GuestMemory& memory) {
    std::vector<std::uint64_t> pages;
    for (std::uint64_t pfn = 0; pfn < memory.page_limit(); ++pfn) {
        const std::byte* page = memory.own_page(pfn);
        if (page != nullptr && std::memcmp(page, memory.pool().zero_page(), 4096) == 0) pages.push_back(pfn);
    }
    return pages;
}

bool has_pages_to_swap(const GuestMemory& memory) {
    for (std::uint64_t pfn = 0; pfn < memory.page_limit(); ++pfn) {
        PmapEntry entry = memory.entry(pfn);
        if (entry.is_private() || entry.is_compressed()) return true;
    }
    return false;
}

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
        release(subject);
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
        bool pressure = pool_->wait_for_pressure(until_balloons_are_left);
        Lock lock{mutex_};
        if (ending_) return;
        if (!pressure) leave_balloons();
        if (!pool_->is_under_pressure()) continue;
        ++figures_.times;
        take_zero_pages();
        use_balloons(lock);
        while (!ending_ && !swap_cold_pages(lock)) {
        }
        release_all();
    }
}

bool Reclaim::hold(Subject& subject) {
    if (!subject.held) subject.held = subject.tenant->hold();
    return subject.held;
}

void Reclaim::release(Subject& subject) {
    if (std::exchange(subject.held, false)) subject.tenant->release();
}

void Reclaim::hold_all() {
    for (Subject& subject : subjects_) hold(subject);
}

void Reclaim::release_all() {
    for (Subject& subject : subjects_) release(subject);
}

void Reclaim::take_zero_pages() {
    for (Subject& subject : subjects_) {
        if (pool_->frames_over_low_water() == 0) return;
        GuestMemory& memory = subject.tenant->guest_memory();
        std::vector<std::uint64_t> pages = zero_pages(memory);
        if ((pages.empty() && !memory.has_left_shared_frames()) || !hold(subject)) continue;
        memory.leave_shared_frames();
        for (std::uint64_t pfn : pages) figures_.zeroed += memory.become_zero(pfn) ? 1 : 0;
        release(subject);
    }
}

// The guests' drivers need time, in which their machines run; there is none when the limit is passed.
void Reclaim::use_balloons(Lock& lock) {
    auto end = std::chrono::steady_clock::now() + patience_with_balloons;
    std::uint64_t wanted = pool_->frames_over_low_water();
    if (wanted == 0 || ask_balloons(wanted) == 0) return;
    while (!ending_ && pool_->frames_over_low_water() > 0 && !pool_->is_over_limit() &&
           std::chrono::steady_clock::now() < end)
        changed_.wait_for(lock, between_looks);
}

// By how much more a machine has than its part, by its size, of what all are to have.
std::uint64_t Reclaim::ask_balloons(std::uint64_t pages) {
    std::uint64_t sizes = 0;
    std::uint64_t frames = 0;
    for (const Subject& subject : subjects_) {
        sizes += subject.tenant->guest_memory().size() >> 12;
        frames += subject.tenant->guest_memory().figures().own;
    }
    std::uint64_t left = frames - std::min(frames, pages);
    std::vector<std::pair<Subject*, std::uint64_t>> excesses;
    std::uint64_t all = 0;
    for (Subject& subject : subjects_) {
        const GuestMemory& memory = subject.tenant->guest_memory();
        std::uint64_t part = left * (memory.size() >> 12) / sizes;
        std::uint64_t has = memory.figures().own;
        if (has <= part || !subject.tenant->ask_to_do_without(subject.asked)) continue;
        excesses.emplace_back(&subject, has - part);
        all += has - part;
    }
    std::uint64_t asked = 0;
    for (auto [subject, excess] : excesses) {
        std::uint64_t its_part = pages * excess / all;
        subject->asked += its_part;
        subject->tenant->ask_to_do_without(subject->asked);
        asked += its_part;
    }
    figures_.asked += asked;
    return asked;
}

// While a quarter of the pool is free, guests may have what they were asked for.
void Reclaim::leave_balloons() {
    if (pool_->in_use() > pool_->limit() / 4 * 3) return;
    for (Subject& subject : subjects_) {
        if (subject.asked == 0) continue;
        subject.asked = 0;
        subject.tenant->ask_to_do_without(0);
    }
}

// True: there is room again. Waits a little if there is none.
bool Reclaim::swap_cold_pages(Lock& lock) {
    while (pool_->frames_over_low_water() > 0 && take_turns() > 0) {
    }
    say_whether_stuck();
    if (!figures_.stuck) return true;
    hold_all();
    changed_.wait_for(lock, between_tries);
    return false;
}

// Some pages of each machine that has any. Returns how many, of all.
std::uint64_t Reclaim::take_turns() {
    std::uint64_t taken = 0;
    for (Subject& subject : subjects_) {
        std::uint64_t wanted = std::min(pool_->frames_over_low_water(), pages_at_once);
        if (wanted == 0) break;
        if (pool_->is_over_limit()) hold_all();
        if (!has_pages_to_swap(subject.tenant->guest_memory()) || !hold(subject)) continue;
        taken += take_from(subject, wanted);
        if (!pool_->is_over_limit()) release(subject);
    }
    // Another one is the first to lose pages the next time.
    if (!subjects_.empty()) subjects_.splice(subjects_.end(), subjects_, subjects_.begin());
    return taken;
}

std::uint64_t Reclaim::take_from(Subject& subject, std::uint64_t frames) {
    GuestMemory& memory = subject.tenant->guest_memory();
    memory.leave_shared_frames();
    std::uint64_t limit = memory.page_limit();
    std::uint64_t taken = 0;
    // Twice round: the first time the hand takes away the signs of use.
    for (std::uint64_t seen = 0; taken < frames && seen < 2 * limit; ++seen) {
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
            break;
        }
        ++taken;
    }
    return taken;
}

void Reclaim::say_whether_stuck() {
    bool room = !pool_->is_over_limit();
    if (room != figures_.stuck) return;
    figures_.stuck = !room;
    int reason = pool_->swap()->failure();
    say_(room ? "there is room for memory again: the machines go on"
              : std::string{"no room for the machines' memory, they wait: swap file: "} +
                    (reason != 0 ? std::strerror(reason) : "nothing to swap"));
}

}  // namespace undercroft
