// SPDX-License-Identifier: Apache-2.0
// Reclaim: keeps the machines' frames within the pool's limit.
//
// It begins when little room is left, and goes on until there is more, in this order:
//
// 1. Pages that are zero give their frames back, and frames that pages have ceased to share are free.
// 2. Machines with a balloon are asked for memory, those that have more than their size entitles them to for
//    the most, and are given some time. What they were asked for they may have again when there is much room.
// 3. Cold pages go to the swap file. Cold is what no TLB was filled with since the last time (TLBs are empty
//    after a hold, so what is used comes in again): a clock's hand goes round each machine's pages and takes
//    those that were not used in its last round; and all compressed ones.
//
// Only the machine from which pages are taken is held meanwhile, for some hundred pages. If that is not
// enough, so that the limit itself is passed, all machines are held until there is room: it is passed by what
// they write until then, some hundred pages. If nothing can be written to the swap file, they stay held, with
// nothing lost, until it works again, a machine ends or the limit grows. (Shared frames cannot be swapped:
// PageSharing leaves half of the limit to others.)

#pragma once

#include "memory/memory_tenant.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace undercroft {

struct ReclaimFigures {
    std::uint64_t times = 0;
    std::uint64_t asked = 0;    // pages, ever, of balloons
    std::uint64_t swapped = 0;  // pages that went to the file, ever
    std::uint64_t zeroed = 0;
    bool stuck = false;  // machines are held since there is no room
};

class Reclaim {
public:
    // `pool` has a limit and a swap file. `say` is told when machines have to wait for room, and when no
    // longer.
    Reclaim(std::shared_ptr<FramePool> pool, std::function<void(const std::string&)> say);
    Reclaim(const Reclaim&) = delete;
    Reclaim& operator=(const Reclaim&) = delete;
    ~Reclaim();

    // Any thread. After remove() the tenant is not used any more, nor held.
    void add(MemoryTenant& tenant);
    void remove(MemoryTenant& tenant);

    ReclaimFigures figures() const;

private:
    using Lock = std::unique_lock<std::mutex>;

    struct Subject {
        MemoryTenant* tenant;
        std::uint64_t hand = 0;   // a page number
        std::uint64_t asked = 0;  // pages, of its balloon
        bool held = false;
    };

    void run();
    void take_zero_pages();
    void use_balloons(Lock& lock);
    std::uint64_t ask_balloons(std::uint64_t pages);
    void leave_balloons();
    bool swap_cold_pages(Lock& lock);
    std::uint64_t take_turns();
    std::uint64_t take_from(Subject& subject, std::uint64_t frames);
    bool hold(Subject& subject);
    void release(Subject& subject);
    void hold_all();
    void release_all();
    void say_whether_stuck();

    std::shared_ptr<FramePool> pool_;
    std::function<void(const std::string&)> say_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::list<Subject> subjects_;
    ReclaimFigures figures_;
    bool ending_ = false;
    std::thread thread_;
};

}  // namespace undercroft
