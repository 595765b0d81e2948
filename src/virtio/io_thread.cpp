// SPDX-License-Identifier: Apache-2.0
#include "virtio/io_thread.hpp"

#include <utility>

namespace undercroft {

IoThread::IoThread(std::function<void()> work) : work_{std::move(work)}, thread_{[this] { run(); }} {}

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
        if (std::exchange(asked_, true)) return;
    }
    asked_changed_.notify_one();
}

void IoThread::run() {
    LogSubject subject{log_subject_};
    for (;;) {
        {
            std::unique_lock lock{mutex_};
            asked_changed_.wait(lock, [this] { return asked_ || ending_; });
            if (ending_) return;
            asked_ = false;
        }
        work_();
    }
}

}  // namespace undercroft
