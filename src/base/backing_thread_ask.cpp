// SPDX-License-Identifier: Apache-2.0
// What helpers of translated code call.
#include "base/backing_thread.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace undercroft {

void BackingThread::ask(std::byte* page, Backing how) noexcept {
    lock_.lock();
    bool fits = count_ < requests_.size();
    if (fits) requests_[count_++] = {page, how};
    lock_.unlock();
    if (fits) wake();
}

void BackingThread::wake() noexcept {
    asked_.fetch_add(1, std::memory_order_release);
    syscall(SYS_futex, &asked_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace undercroft
