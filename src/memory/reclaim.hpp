// SPDX-License-Identifier: Apache-2.0
// Reclaim: keeps the machines' frames within the pool's limit.
//
// When the limit is passed, all machines are held, and pages lose their frames until there is some room:
// those that are zero give theirs back, others go to the swap file, cold ones first. Cold is what no TLB was
// filled with since the last time (TLBs are empty after a hold, so what is used comes in again): a clock's
// hand goes round each machine's pages and takes those that were not used in its last round.
//
// The limit is passed by what machines write until they are held: some hundred pages. If nothing can be
// written to the swap file, the machines stay held, with nothing lost, until it works again, a machine ends
// or the limit grows.

#pragma once

#include "memory/memory_tenant.hpp"

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
    struct Subject {
        MemoryTenant* tenant;
        std::uint64_t hand = 0;  // a page number
        bool held = false;
    };

    void run();
    bool make_room(std::unique_lock<std::mutex>& lock);
    bool hold_all();
    void release_all();
    bool take_from(Subject& subject, std::uint64_t frames);

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
