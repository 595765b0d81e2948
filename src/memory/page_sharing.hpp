// SPDX-License-Identifier: Apache-2.0
// PageSharing: finds pages of equal contents, within and across machines, and has them share frames; finds
// pages that have become zero, and has them give theirs back; and has others that nobody has used for some
// passes kept in less than a frame (CompressedStore). (Transparent page sharing: Waldspurger, "Memory
// Resource Management in VMware ESX Server", OSDI 2002, section 4.)
//
// A pass hashes every page that has a frame of its own, while the machines run. A page whose hash is that of
// the pass before, or of zeroes, is unlikely to change soon. Of those, pages that have a hash in common are
// looked at again with their machine held, some hundred at a time: the first becomes the one to share, the
// others show its frame if they are equal byte by byte. A page that is like no other may have become cold. So
// one machine is held at a time, for less than a millisecond.
//
// Shared frames cannot be swapped, so they are at most half of the pool's limit: with more than the limit,
// which a guest can bring about by writing pages that are equal in pairs, all machines would be held for
// ever. Further pages keep frames of their own, and may become cold.
//
// Nothing is written in place again: a write to a shared page gives that page a frame of its own
// (GuestMemory::writable).

#pragma once

#include "memory/memory_tenant.hpp"
#include "memory/page_history.hpp"

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
    std::uint64_t hashed = 0;      // pages, ever
    std::uint64_t shared = 0;      // pages that joined another's frame, ever
    std::uint64_t zeroed = 0;      // pages that gave their frame back, ever
    std::uint64_t compressed = 0;  // pages that became cold, ever
    std::uint64_t frames = 0;      // that are shared now
};

// Whether pages of equal contents share frames. If they do, a guest can find out from how long its writes
// take what others have in their memory; if not, zero and cold pages give their frames up all the same.
enum class EqualPages : std::uint8_t { Share, KeepApart };

class PageSharing {
public:
    // Called between pieces of work, with the number of pages that were looked at since; may wait. False:
    // stop.
    using Pace = std::function<bool(std::uint64_t pages)>;

    explicit PageSharing(std::shared_ptr<FramePool> pool, EqualPages equal_pages = EqualPages::Share);
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
        PageHistory history;
        std::chrono::nanoseconds ran_before{};
        bool ages = false;      // pages become cold, so TLBs have to be emptied
        bool was_held = false;  // in this pass
    };
    struct Candidate {
        std::uint64_t hash;
        std::uint64_t pfn;
        Subject* subject;
        bool cold;
    };

    std::vector<Subject*> idle_ones_first();
    bool is_here(const Subject* subject) const;
    bool hash_pages(Subject& subject, const Pace& pace, std::vector<Candidate>& candidates);
    std::uint64_t hash_range(Subject& subject, std::uint64_t pfn, std::uint64_t end,
                             std::vector<Candidate>& candidates);
    void keep_equal_and_cold_ones(std::vector<Candidate>& candidates) const;
    std::uint64_t share_pages(Subject& subject, std::span<const Candidate> candidates);
    bool share_page(GuestMemory& memory, const Candidate& candidate);
    bool compress(GuestMemory& memory, const Candidate& candidate);
    void drop_unused_frames();

    std::shared_ptr<FramePool> pool_;
    const EqualPages equal_pages_;
    const std::uint64_t zero_hash_;
    mutable std::mutex mutex_;  // of all below; held while a tenant is used
    std::list<Subject> subjects_;
    std::unordered_map<std::uint64_t, MachineFrame> frames_;  // by hash; each counts as one sharer
    SharingFigures figures_;
};

}  // namespace undercroft
