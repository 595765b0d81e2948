// SPDX-License-Identifier: Apache-2.0
#include "schedule/run_queue.hpp"

#include "base/check.hpp"

#include <algorithm>

namespace undercroft {

void RunQueue::add(Task& task, Share& share, Time now) {
    CHECK(task.state_ == TaskState::New, "a task is added once");
    task.share_ = &share;
    task.state_ = TaskState::Waiting;
    if (share.tasks_.empty()) set_options(share, share.options_, now);
    share.tasks_.push_back(&task);
    tasks_.push_back(&task);
    ready_.reserve(tasks_.size());
    deadlines_.reserve(tasks_.size());
}

void RunQueue::remove(Task& task) {
    CHECK(task.state_ == TaskState::Ended || task.state_ == TaskState::Waiting,
          "a task that may run is not removed");
    set_deadline(task, never);
    std::erase(task.share_->tasks_, &task);
    std::erase(tasks_, &task);
    if (task.share_->tasks_.empty()) std::erase(capped_, task.share_);
    task.share_ = nullptr;
}

void RunQueue::set_deadline(Task& task, Time deadline) {
    if (DeadlineHeap::holds(task)) deadlines_.remove(task);
    task.deadline_ = deadline;
    if (deadline != never) deadlines_.insert(task);
}

void RunQueue::make_ready(Task& task, Time now) {
    CHECK(task.state_ == TaskState::Waiting || task.state_ == TaskState::Resting,
          "a task waits before it is ready");
    set_deadline(task, never);
    ++task.share_->active_;
    std::uint64_t slice = by_weight(*task.share_, options_.slice);
    std::uint64_t least = floor_ > slice ? floor_ - slice : 0;
    // Who has only rested, in a loop that polls, is not to end anybody's turn for it.
    if (task.state_ == TaskState::Resting) least = floor_ + slice;
    task.virtual_time_ = std::max(task.virtual_time_, least);
    enqueue(task, now);
}

void RunQueue::enqueue(Task& task, Time now) {
    task.since_ = now;
    if (is_stopped(*task.share_)) {
        task.state_ = TaskState::Parked;
        return;
    }
    task.state_ = TaskState::Ready;
    ready_.insert(task);
}

Task* RunQueue::pick(Time now) {
    while (!ready_.empty()) {
        Task& task = ready_.top();
        ready_.remove(task);
        if (!is_stopped(*task.share_)) return &begin(task, now);
        task.state_ = TaskState::Parked;
    }
    return nullptr;
}

Task* RunQueue::pick_sibling(const Task& task, Time now) {
    if (is_stopped(*task.share_)) return nullptr;
    Task* least = nullptr;
    for (Task* other : task.share_->tasks_) {
        bool waits = other != &task && other->state_ == TaskState::Ready;
        if (waits && (least == nullptr || other->virtual_time_ < least->virtual_time_)) least = other;
    }
    if (least == nullptr) return nullptr;
    ready_.remove(*least);
    return &begin(*least, now);
}

Task& RunQueue::begin(Task& task, Time now) {
    Share& share = *task.share_;
    task.stolen_ += now - task.since_;
    task.state_ = TaskState::Running;
    running_.push_back(&task);
    raise_floor();
    task.since_ = now;
    ++task.turns_;
    ++share.running_;
    Nanoseconds slice = options_.slice;
    if (share.options_.cap_percent != 0) {
        refill(share, now);
        constexpr std::int64_t least = 100'000;
        slice = std::min(slice, static_cast<Nanoseconds>(std::max(share.budget_, least)));
    }
    task.slice_end_ = now + slice;
    return task;
}

void RunQueue::raise_floor() {
    std::uint64_t least = running_.front()->virtual_time_;
    for (const Task* task : running_) least = std::min(least, task->virtual_time_);
    if (!ready_.empty()) least = std::min(least, ready_.top().virtual_time_);
    floor_ = std::max(floor_, least);
}

void RunQueue::charge(Task& task, Time now) {
    Share& share = *task.share_;
    Nanoseconds ran = now - task.since_;
    task.ran_ += ran;
    task.virtual_time_ += by_weight(share, ran);
    // What a task was due and could not use, since it cannot run twice at a time, is forgotten.
    std::uint64_t slack = by_weight(share, 4 * options_.slice);
    if (!ready_.empty() && ready_.top().virtual_time_ > slack)
        task.virtual_time_ = std::max(task.virtual_time_, ready_.top().virtual_time_ - slack);
    if (share.options_.cap_percent == 0) return;
    share.budget_ -= static_cast<std::int64_t>(ran);
    refill(share, now);
    share.throttled_ = share.budget_ <= 0;
}

// At most a period's worth can be saved up; what was taken too much is paid back.
void RunQueue::refill(Share& share, Time now) {
    if (now < share.refilled_ + options_.period) return;
    std::uint64_t periods = (now - share.refilled_) / options_.period;
    share.refilled_ += periods * options_.period;
    std::int64_t most = quota(share);
    std::int64_t due = periods > 1000 ? most - std::min<std::int64_t>(share.budget_, 0)
                                      : most * static_cast<std::int64_t>(periods);
    share.budget_ = std::min(most, share.budget_ + due);
    share.throttled_ = share.budget_ <= 0;
}

void RunQueue::put_back(Task& task, TurnEnd end, Time deadline, Time now) {
    CHECK(task.state_ == TaskState::Running, "only a turn that began can end");
    bool new_wait = end != TurnEnd::Spins || now - task.since_ >= options_.least_spin;
    if (new_wait) task.rest_ = 0;
    charge(task, now);
    std::erase(running_, &task);
    --task.share_->running_;
    switch (end) {
        case TurnEnd::Paused:
            // Behind the next one, whatever is due to it.
            if (!ready_.empty())
                task.virtual_time_ = std::max(task.virtual_time_, ready_.top().virtual_time_ + 1);
            [[fallthrough]];
        case TurnEnd::Preempted: enqueue(task, now); return;
        case TurnEnd::Spins: {
            bool alone = task.share_->tasks_.size() == 1;
            Nanoseconds most = alone ? options_.most_rest : options_.most_rest_among;
            task.rest_ = std::clamp(2 * task.rest_, options_.least_rest, most);
            task.state_ = TaskState::Resting;
            deadline = now + task.rest_;
            break;
        }
        case TurnEnd::Waits: task.state_ = TaskState::Waiting; break;
        case TurnEnd::Ended:
            task.state_ = TaskState::Ended;
            deadline = never;
            break;
    }
    task.since_ = now;
    --task.share_->active_;
    set_deadline(task, deadline);
}

bool RunQueue::preempts(const Task& ready, const Task& running, Time now) const {
    constexpr Nanoseconds least = 500'000;
    std::uint64_t had = running.virtual_time_ + by_weight(*running.share_, now - running.since_);
    return ready.virtual_time_ + by_weight(*ready.share_, least) < had;
}

Time RunQueue::next_event() const {
    Time next = deadlines_.empty() ? never : deadlines_.top().deadline_;
    for (const Share* share : capped_) {
        if (share->throttled_) next = std::min(next, share->refilled_ + options_.period);
    }
    return next;
}

void RunQueue::set_options(Share& share, ShareOptions options, Time now) {
    CHECK(options.weight >= 1 && options.weight <= ShareOptions::most_weight, "a weight in its range");
    share.options_ = options;
    std::erase(capped_, &share);
    share.throttled_ = false;
    if (options.cap_percent == 0) return;
    capped_.push_back(&share);
    share.refilled_ = now;
    share.budget_ = quota(share);
}

}  // namespace undercroft
