// SPDX-License-Identifier: Apache-2.0
#include "memory/sharing_thread.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

namespace undercroft {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds shortest_per_page = 40us;
constexpr std::chrono::nanoseconds longest_per_page = 240us;
constexpr std::chrono::nanoseconds between_passes = 1s;
constexpr std::uint64_t worth_it = 256;      // pages given up, of a pass: one MiB
constexpr std::uint64_t kept_frames = 4096;  // for pages to come: 16 MiB
constexpr std::uint64_t trimmed_at_once = 256;

std::chrono::nanoseconds time_of_this_thread() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

}  // namespace

SharingThread::SharingThread(PageSharing& sharing, std::shared_ptr<FramePool> pool)
    : sharing_{sharing}, pool_{std::move(pool)}, thread_{[this] { run(); }} {}

SharingThread::~SharingThread() {
    {
        std::lock_guard lock{mutex_};
        ending_ = true;
    }
    ending_changed_.notify_all();
    thread_.join();
}

std::chrono::nanoseconds SharingThread::processor_time() const {
    std::lock_guard lock{mutex_};
    return processor_time_;
}

void SharingThread::run() {
    std::chrono::nanoseconds per_page = shortest_per_page;
    auto pace = [&](std::uint64_t pages) {
        pool_->trim(kept_frames, trimmed_at_once);
        return wait(pages * per_page);
    };
    std::uint64_t in_use = 0;
    do {
        bool gave = sharing_.pass(pace) >= worth_it;
        bool grew = pool_->in_use() >= std::exchange(in_use, pool_->in_use()) + worth_it;
        per_page = gave || grew ? shortest_per_page : std::min(per_page * 2, longest_per_page);
    } while (wait(between_passes));
}

bool SharingThread::wait(std::chrono::nanoseconds time) {
    std::unique_lock lock{mutex_};
    processor_time_ = time_of_this_thread();
    return !ending_changed_.wait_for(lock, time, [this] { return ending_; });
}

}  // namespace undercroft
