// SPDX-License-Identifier: Apache-2.0
#include "virtio/io_thread.hpp"

#include <cstdint>
#include <utility>

namespace undercroft {
namespace {

// A guest that waits for one request after the other asks again within this time, in ns, even if its
// processor has to be woken in between.
constexpr std::uint64_t poll = 100'000;

}  // namespace

IoThread::IoThread(std::function<void()> work)
    : work_{std::move(work)}, polling_{poll}, thread_{[this] { run(); }} {}

IoThread::~IoThread() {
    {
        std::lock_guard lock{mutex_};
        ending_ = true;
    }
    asked_changed_.notify_one();
    thread_.join();
}

void IoThread::ask() {
    {
        std::lock_guard lock{mutex_};
        if (asked_.exchange(true)) return;
    }
    asked_changed_.notify_one();
}

void IoThread::run() {
    LogSubject subject{log_subject_};
    auto awaited = [this] { return asked_ || ending_; };
    for (;;) {
        polling_.wait(awaited);
        {
            std::unique_lock lock{mutex_};
            asked_changed_.wait(lock, awaited);
            if (ending_) return;
            asked_ = false;
        }
        work_();
    }
}

}  // namespace undercroft
