// SPDX-License-Identifier: Apache-2.0
// What helpers of translated code call.
#include "memory/frame_pool.hpp"

#include "base/populate.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace undercroft {

void FramePool::take(FrameBatch& batch) noexcept {
    batch.count = 0;
    lock_.lock();
    batch.zero = used_.count == 0;
    bool neighbours = batch.zero && empty_.count == 0;
    bool begins = false;
    if (neighbours)
        begins = take_neighbours(batch);
    else
        take_from(batch.zero ? empty_ : used_, batch);
    in_use_ += batch.count;
    std::uint64_t now = in_use_;
    std::uint64_t fresh = fresh_;
    lock_.unlock();
    wake_if_little_is_left(now);
    if (!neighbours) return;
    MachineFrame first = batch.frames[batch.count - 1];
    if (begins) begin_large_page(static_cast<std::uint64_t>(first), fresh);
    // An older host, or one without memory: each frame is backed when it is touched, or that fails.
    madvise(host(first), std::uint64_t{batch.count} << 12, MADV_POPULATE_WRITE);
}

// The next one, if nobody has had it, is backed meanwhile.
void FramePool::begin_large_page(std::uint64_t first, std::uint64_t fresh) noexcept {
    std::uint64_t next = first + frames_of_large_page;
    if (fresh <= next && next + frames_of_large_page <= end_)
        backing_->ask(host(MachineFrame{next}), space_.backing());
    space_.begin_large_page(host(MachineFrame{first}));
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
// frame after frame, which makes one piece for devices. All within one large page.
bool FramePool::take_neighbours(FrameBatch& batch) noexcept {
    bool fresh = runs_.empty();
    Run run = fresh ? Run{fresh_, end_ - fresh_} : runs_.back();
    std::uint64_t before = run.first % frames_of_large_page;
    std::uint64_t most = std::min<std::uint64_t>(FrameBatch::most, frames_of_large_page - before);
    batch.count = static_cast<unsigned>(std::min(run.count, most));
    for (unsigned n = 0; n < batch.count; ++n)
        batch.frames[batch.count - 1 - n] = MachineFrame{run.first + n};
    if (fresh)
        fresh_ += batch.count;
    else if (run.count == batch.count)
        runs_.pop_back();
    else
        runs_.back() = {run.first + batch.count, run.count - batch.count};
    return before == 0 && run.count >= frames_of_large_page;
}

void FramePool::give_back(MachineFrame frame) noexcept {
    lock_.lock();
    add_to(used_, static_cast<std::uint64_t>(frame));
    --in_use_;
    lock_.unlock();
}

}  // namespace undercroft
