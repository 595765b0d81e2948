// SPDX-License-Identifier: Apache-2.0
#include "schedule/scheduler.hpp"

#include "base/check.hpp"

#include <sched.h>

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

namespace undercroft {

unsigned host_processors() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return static_cast<unsigned>(CPU_COUNT(&set));
}

Result<std::unique_ptr<Scheduler>> Scheduler::create(Options options) {
    CHECK(options.processors > 0);
    std::unique_ptr<Scheduler> scheduler{new Scheduler{std::move(options)}};
    auto timekeeper = Timekeeper::create([it = scheduler.get()] { it->time_has_come(); });
    if (!timekeeper) return timekeeper.error();
    scheduler->timekeeper_ = *std::move(timekeeper);
    return scheduler;
}

Scheduler::Scheduler(Options options) : options_{std::move(options)}, queue_{options_.queue} {}

Scheduler::~Scheduler() {
    {
        Lock lock{mutex_};
        CHECK(tasks_ == 0, "tasks go before their scheduler");
        ending_ = true;
        for (const auto& processor : processors_) processor->wake();
    }
    processors_.clear();
    timekeeper_.reset();
}

void Scheduler::add(Task& task, Share& share) {
    Lock lock{mutex_};
    queue_.add(task, share, time_now());
    if (++tasks_ > processors_.size() && processors_.size() < options_.processors) add_processor();
}

void Scheduler::add_processor() {
    idle_.reserve(processors_.size() + 1);
    parked_.reserve(processors_.size() + 1);
    processors_.push_back(
        std::make_unique<Processor>([this](Processor& self) { options_.on_thread([&] { serve(self); }); }));
}

void Scheduler::wake(Task& task) noexcept {
    Lock lock{mutex_};
    if (task.state_ != TaskState::Waiting && task.state_ != TaskState::Resting) return;
    Time now = time_now();
    queue_.make_ready(task, now);
    offer(task, now);
}

void Scheduler::remove(Task& task) {
    Lock lock{mutex_};
    stopped_.wait(lock, [&] {
        return task.state_ == TaskState::Ended || (task.state_ == TaskState::Waiting && task.turns_ == 0);
    });
    queue_.remove(task);
    --tasks_;
}

void Scheduler::begin_hold(Share& share) {
    queue_.hold(share);
    for (Task* task : share.tasks_) {
        if (task->state_ == TaskState::Running) task->preempt();
    }
}

void Scheduler::end_hold(Share& share) {
    Time now = time_now();
    queue_.release(share, now, [&](Task& task) { offer(task, now); });
}

void Scheduler::hold(Share& share) {
    Lock lock{mutex_};
    begin_hold(share);
    stopped_.wait(lock, [&] { return share.running_ == 0; });
}

bool Scheduler::hold(Share& share, Nanoseconds patience) {
    Lock lock{mutex_};
    begin_hold(share);
    bool stands =
        stopped_.wait_for(lock, std::chrono::nanoseconds{patience}, [&] { return share.running_ == 0; });
    if (!stands) end_hold(share);
    return stands;
}

void Scheduler::release(Share& share) {
    Lock lock{mutex_};
    end_hold(share);
}

ShareFigures Scheduler::figures(const Share& share) const {
    Lock lock{mutex_};
    Time now = time_now();
    ShareFigures all{.running = share.running_, .active = share.active_};
    for (const Task* task : share.tasks_) {
        Nanoseconds since = now - task->since_;
        all.ran += task->ran_ + (task->state_ == TaskState::Running ? since : 0);
        all.stolen += task->stolen_ + (task->state_ == TaskState::Ready ? since : 0);
        all.turns += task->turns_;
    }
    return all;
}

// A processor's life.
void Scheduler::serve(Processor& self) {
    Lock lock{mutex_};
    Time now = time_now();
    Task* next = nullptr;
    while (!ending_) {
        if (queue_.next_event() <= now) queue_.expire(now, [](Task&) {});
        if (next == nullptr && working() > options_.processors) {
            park(self, lock, now);
            now = time_now();
            continue;
        }
        if (next == nullptr) next = queue_.pick(now);
        if (next == nullptr) {
            idle(self, lock);
            now = time_now();
            continue;
        }
        Task& task = *std::exchange(next, nullptr);
        self.task_ = &task;
        task.processor_ = &self;
        task.forget_preempt();
        if (queue_.has_ready() && !idle_.empty()) offer(queue_.first(), now);
        watch_time();
        lock.unlock();
        TurnResult result = task.run();
        lock.lock();
        now = time_now();
        next = end_turn(self, task, result, now);
    }
}

// Who runs next, if it is not for the queue to say.
Task* Scheduler::end_turn(Processor& self, Task& task, TurnResult result, Time now) {
    Share& share = *task.share_;
    self.task_ = nullptr;
    queue_.put_back(task, result.end, result.deadline, now);
    if (share.running_ == 0 && (share.holds_ != 0 || result.end == TurnEnd::Ended)) stopped_.notify_all();
    if (queue_.is_stopped(task)) {  // a cap was reached
        for (Task* other : share.tasks_) {
            if (other->state_ == TaskState::Running) other->preempt();
        }
    }
    bool waits = result.end == TurnEnd::Waits || result.end == TurnEnd::Spins;
    if (waits && task.is_ready()) queue_.make_ready(task, now);
    bool for_sibling = result.end == TurnEnd::Paused || result.end == TurnEnd::Spins;
    return for_sibling ? queue_.pick_sibling(task, now) : nullptr;
}

void Scheduler::idle(Processor& self, Lock& lock) {
    idle_.push_back(&self);
    self.sleeps_until_ = queue_.next_event();
    bool keeps_time = waits_for_time_ == nullptr || self.sleeps_until_ < waits_for_time_->sleeps_until_;
    if (keeps_time) {
        waits_for_time_ = &self;
        if (alarm_ != never) timekeeper_->set(alarm_ = never);
    } else {
        self.sleeps_until_ = never;
    }
    lock.unlock();
    self.sleep(self.sleeps_until_);
    lock.lock();
    std::erase(idle_, &self);
    if (waits_for_time_ == &self) waits_for_time_ = nullptr;
}

// There is one too many: until another one waits for the host.
void Scheduler::park(Processor& self, Lock& lock, Time now) {
    parked_.push_back(&self);
    if (queue_.has_ready() && !idle_.empty()) offer(queue_.first(), now);
    watch_time();
    lock.unlock();
    self.sleep(never);
    lock.lock();
    std::erase(parked_, &self);
}

Processor* Scheduler::processor_of_this_thread() {
    for (const auto& processor : processors_) {
        if (processor->thread_.get_id() == std::this_thread::get_id()) return processor.get();
    }
    return nullptr;
}

void Scheduler::wait_begins() noexcept {
    Lock lock{mutex_};
    Processor* self = processor_of_this_thread();
    if (self == nullptr) return;
    self->waits_ = true;
    ++waiting_;
    if (working() >= options_.processors || working() + waiting_ >= tasks_) return;
    if (!parked_.empty()) {
        Processor* other = parked_.back();
        parked_.pop_back();
        other->wake();
        return;
    }
    try {
        add_processor();
    } catch (const std::system_error&) {
        // The host has no more threads: others wait as well.
    }
}

void Scheduler::wait_ends() noexcept {
    Lock lock{mutex_};
    Processor* self = processor_of_this_thread();
    if (self == nullptr) return;
    self->waits_ = false;
    --waiting_;
}

// There may be a task that waits for a processor: an idle one takes it, best the one where it ran last; else
// somebody goes who has had more than his part. A processor that is on its way here needs no call.
void Scheduler::offer(Task& task, Time now) {
    if (task.state_ != TaskState::Ready) return;
    if (!idle_.empty()) {
        auto last = std::find(idle_.begin(), idle_.end(), task.processor_);
        Processor* processor = last != idle_.end() ? *last : idle_.back();
        std::erase(idle_, processor);
        processor->wake();
        return;
    }
    Task* worst = nullptr;
    for (const auto& processor : processors_) {
        Task* running = processor->task_;
        bool may_go = running != nullptr && !processor->waits_ && queue_.preempts(task, *running, now);
        if (may_go && (worst == nullptr || running->virtual_time_ > worst->virtual_time_)) worst = running;
    }
    if (worst != nullptr) worst->preempt();
    watch_time();
}

// Sees to it that somebody looks at the clock when something is due.
void Scheduler::watch_time() {
    Time next = queue_.next_event();
    if (queue_.has_ready()) {
        for (const auto& processor : processors_) {
            if (processor->task_ != nullptr && !processor->waits_)
                next = std::min(next, processor->task_->slice_end_);
        }
    }
    if (next >= alarm_ || (waits_for_time_ != nullptr && next >= waits_for_time_->sleeps_until_)) return;
    timekeeper_->set(alarm_ = next);
}

void Scheduler::time_has_come() {
    Lock lock{mutex_};
    alarm_ = never;
    Time now = time_now();
    queue_.expire(now, [&](Task& task) { offer(task, now); });
    for (const auto& processor : processors_) {
        Task* task = processor->task_;
        if (task == nullptr || !queue_.has_ready() || task->slice_end_ > now) continue;
        task->preempt();
        task->slice_end_ = never;  // once is enough
    }
    watch_time();
}

}  // namespace undercroft
