// SPDX-License-Identifier: Apache-2.0
// PageSharing: finds pages of equal contents, within and across machines, and has them share frames; finds
// pages that have become zero, and has them give theirs back. (Transparent page sharing: Waldspurger, "Memory
// Resource Management in VMware ESX Server", OSDI 2002, section 4.)
//
// A pass hashes every page that has a frame of its own, while the machines run. A page whose hash is that of
// the pass before is unlikely to change soon. Of those, pages that have a hash in common are looked at again
// with their machine held, some hundred at a time: the first becomes the one to share, the others show its
// frame if they are equal byte by byte. So one machine is held at a time, for less than a millisecond.
//
// Nothing is written in place again: a write to a shared page gives that page a frame of its own
// (GuestMemory::writable).

#pragma once

#include "memory/memory_tenant.hpp"
#include "memory/reservation.hpp"

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

namespace undercroft {

struct SharingFigures {
    std::uint64_t passes = 0;
    std::uint64_t hashed = 0;  // pages, ever
    std::uint64_t shared = 0;  // pages that joined another's frame, ever
    std::uint64_t zeroed = 0;  // pages that gave their frame back, ever
    std::uint64_t frames = 0;  // that are shared now
};

class PageSharing {
public:
    // Called between pieces of work, with the number of pages that were looked at since; may wait. False:
    // stop.
    using Pace = std::function<bool(std::uint64_t pages)>;

    explicit PageSharing(std::shared_ptr<FramePool> pool);
    PageSharing(const PageSharing&) = delete;
    PageSharing& operator=(const PageSharing&) = delete;
    ~PageSharing();

    // Any thread. After remove() the tenant is not used any more.
    void add(MemoryTenant& tenant);
    void remove(MemoryTenant& tenant);

    // By one thread: all machines once. Returns how many pages gave their frame up.
    std::uint64_t pass(const Pace& pace);

    SharingFigures figures() const;

private:
    struct Subject {
        MemoryTenant* tenant;
        Reservation hashes;  // a word per page: the low half of its hash in the last pass; zero: had no frame
        std::chrono::nanoseconds ran_before{};
    };
    struct Candidate {
        std::uint64_t hash;
        std::uint64_t pfn;
        Subject* subject;
    };

    std::vector<Subject*> idle_ones_first();
    bool is_here(const Subject* subject) const;
    bool hash_pages(Subject& subject, const Pace& pace, std::vector<Candidate>& candidates);
    std::uint64_t hash_range(Subject& subject, std::uint64_t pfn, std::uint64_t end,
                             std::vector<Candidate>& candidates);
    void keep_equal_ones(std::vector<Candidate>& candidates) const;
    std::uint64_t share_pages(Subject& subject, std::span<const Candidate> candidates);
    bool share_page(GuestMemory& memory, const Candidate& candidate);
    void drop_unused_frames();

    std::shared_ptr<FramePool> pool_;
    const std::uint64_t zero_hash_;
    mutable std::mutex mutex_;  // of all below; held while a tenant is used
    std::list<Subject> subjects_;
    std::unordered_map<std::uint64_t, MachineFrame> frames_;  // by hash; each counts as one sharer
    SharingFigures figures_;
};

}  // namespace undercroft
