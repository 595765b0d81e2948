// SPDX-License-Identifier: Apache-2.0
#include "base/backing_thread.hpp"

#include "base/populate.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace undercroft {

std::shared_ptr<BackingThread> BackingThread::shared() {
    static std::mutex mutex;
    static std::weak_ptr<BackingThread> present;
    std::lock_guard lock{mutex};
    std::shared_ptr<BackingThread> thread = present.lock();
    if (thread == nullptr) present = thread = std::make_shared<BackingThread>();
    return thread;
}

BackingThread::BackingThread() : thread_{[this] { run(); }} {}

BackingThread::~BackingThread() {
    ending_.store(true, std::memory_order_relaxed);
    wake();
    thread_.join();
}

bool BackingThread::take(Request& request) noexcept {
    std::lock_guard lock{lock_};
    if (count_ == 0) return false;
    request = requests_.front();
    std::move(requests_.begin() + 1, requests_.begin() + static_cast<std::ptrdiff_t>(count_),
              requests_.begin());
    --count_;
    return true;
}

void BackingThread::run() noexcept {
    for (;;) {
        std::uint32_t asked = asked_.load(std::memory_order_acquire);
        if (ending_.load(std::memory_order_relaxed)) return;
        {
            std::lock_guard working{working_};
            for (Request request; take(request);) {
                if (request.how == Backing::Collapse)
                    (void)collapse_large_pages(request.page, large_page_size);
                else
                    (void)madvise(request.page, large_page_size, MADV_POPULATE_WRITE);
            }
        }
        syscall(SYS_futex, &asked_, FUTEX_WAIT_PRIVATE, asked, nullptr, nullptr, 0);
    }
}

void BackingThread::forget(const std::byte* begin, std::size_t size) noexcept {
    {
        std::lock_guard lock{lock_};
        auto end = requests_.begin() + static_cast<std::ptrdiff_t>(count_);
        auto within = [&](const Request& request) {
            return request.page >= begin && request.page < begin + size;
        };
        count_ = static_cast<std::size_t>(std::remove_if(requests_.begin(), end, within) - requests_.begin());
    }
    std::lock_guard until_done{working_};
}

void BackingThread::finish() noexcept {
    for (;;) {
        {
            std::scoped_lock nobody_works{working_};
            std::lock_guard lock{lock_};
            if (count_ == 0) return;
        }
        std::this_thread::yield();
    }
}

}  // namespace undercroft
