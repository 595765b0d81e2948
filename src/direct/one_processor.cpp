// SPDX-License-Identifier: Apache-2.0
#include "direct/one_processor.hpp"

#include <algorithm>

namespace undercroft {
namespace {

// Some 20 and 100 ms.
constexpr std::uint64_t between_looks = 50'000'000;
constexpr std::uint64_t time_off = 250'000'000;

std::int64_t nanoseconds(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

OneProcessor::OneProcessor(pid_t process) : process_{process} {
    ::clock_getcpuclockid(process, &process_clock_);
}

std::int64_t OneProcessor::processor_time() const {
    return nanoseconds(CLOCK_THREAD_CPUTIME_ID) + nanoseconds(process_clock_);
}

void OneProcessor::keep(std::uint64_t now) {
    if (now < look_at_) return;
    look_at_ = now + between_looks;
    if (!pinned_) return pin();
    std::int64_t time = nanoseconds(CLOCK_MONOTONIC);
    std::int64_t used = processor_time();
    std::int64_t passed = time - looked_time_;
    bool contended = used - looked_processor_time_ < passed / 8 * 7;
    looked_time_ = time;
    looked_processor_time_ = used;
    if (!contended) return;
    leave();
    look_at_ = now + time_off;
}

void OneProcessor::pin() {
    int processor = ::sched_getcpu();
    if (processor < 0 || ::sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(processor), &one);
    pinned_ =
        ::sched_setaffinity(0, sizeof one, &one) == 0 && ::sched_setaffinity(process_, sizeof one, &one) == 0;
    looked_time_ = nanoseconds(CLOCK_MONOTONIC);
    looked_processor_time_ = processor_time();
}

void OneProcessor::leave() {
    if (!pinned_) return;
    pinned_ = false;
    look_at_ = 0;
    (void)::sched_setaffinity(0, sizeof before_, &before_);
    (void)::sched_setaffinity(process_, sizeof before_, &before_);
}

}  // namespace undercroft
