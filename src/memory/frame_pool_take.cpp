// SPDX-License-Identifier: Apache-2.0
// What helpers of translated code call.
#include "memory/frame_pool.hpp"

#include "base/populate.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace undercroft {

void FramePool::take(FrameBatch& batch) noexcept {
    batch.count = 0;
    lock_.lock();
    batch.zero = used_.count == 0;
    std::uint64_t fresh = fresh_;
    bool neighbours = batch.zero && empty_.count == 0;
    if (neighbours)
        take_neighbours(batch);
    else
        take_from(batch.zero ? empty_ : used_, batch);
    in_use_ += batch.count;
    std::uint64_t now = in_use_;
    std::uint64_t then_fresh = fresh_;
    lock_.unlock();
    back_ahead(fresh, then_fresh);
    wake_if_little_is_left(now);
    // An older host, or one without memory: each frame is backed when it is touched, or that fails.
    if (neighbours)
        madvise(host(batch.frames[batch.count - 1]), std::uint64_t{batch.count} << 12, MADV_POPULATE_WRITE);
}

void FramePool::back_ahead(std::uint64_t from, std::uint64_t to) noexcept {
    std::uint64_t page = to / frames_of_large_page;
    if (page == from / frames_of_large_page || (page + 2) * frames_of_large_page > end_) return;
    backing_->ask(host(MachineFrame{(page + 1) * frames_of_large_page}), Backing::Populate);
}

void FramePool::wake_waiter() noexcept {
    pressure_.store(1, std::memory_order_relaxed);
    syscall(SYS_futex, &pressure_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void FramePool::take_from(List& list, FrameBatch& batch) noexcept {
    while (batch.count < FrameBatch::most && list.count != 0)
        batch.frames[batch.count++] = MachineFrame{take_first(list)};
}

// Neighbours, the lowest last: that is the first to be used, and a guest that writes page after page gets
// frame after frame, which makes one piece for devices.
void FramePool::take_neighbours(FrameBatch& batch) noexcept {
    std::uint64_t first = fresh_;
    if (runs_.empty()) {
        batch.count = FrameBatch::most;
        fresh_ += batch.count;
    } else {
        Run& run = runs_.back();
        first = run.first;
        batch.count = static_cast<unsigned>(run.count < FrameBatch::most ? run.count : FrameBatch::most);
        run.first += batch.count;
        run.count -= batch.count;
        if (run.count == 0) runs_.pop_back();
    }
    for (unsigned n = 0; n < batch.count; ++n) batch.frames[batch.count - 1 - n] = MachineFrame{first + n};
}

void FramePool::give_back(MachineFrame frame) noexcept {
    lock_.lock();
    add_to(used_, static_cast<std::uint64_t>(frame));
    --in_use_;
    lock_.unlock();
}

}  // namespace undercroft
