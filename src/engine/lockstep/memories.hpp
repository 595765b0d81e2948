// SPDX-License-Identifier: Apache-2.0
// The two memories: who has written where, and whether they are the same.
//
// The follower announces every write, and what it wrote is compared after each block. The leader's software
// TLB lets it write without a word; it announces the first write to each page since the last comparison of
// whole pages, so that writes which should not have happened are found then.

#pragma once

#include "engine/lockstep/journal.hpp"
#include "memory/guest_memory.hpp"
#include "mmu/mmu.hpp"
#include "mmu/zeroed_array.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace undercroft::lockstep {

struct MemoryDifference {
    GuestPhysical address;  // of the first byte that differs
    std::uint64_t rip = 0;  // of the follower's instruction that wrote there; zero: not known
};

// Adding needs no allocation and general registers only.
class PageSet {
public:
    explicit PageSet(std::uint64_t page_limit)
        : page_limit_{page_limit}, members_{page_limit / 64 + 1}, list_{page_limit} {}
    void add(std::uint64_t pfn) noexcept {
        std::uint64_t bit = 1ull << pfn % 64;
        if (pfn >= page_limit_ || (members_[pfn / 64] & bit) != 0) return;
        members_[pfn / 64] |= bit;
        list_[count_++] = pfn;
    }
    std::uint64_t size() const { return count_; }
    std::uint64_t operator[](std::uint64_t n) const { return list_[n]; }
    void clear() {
        while (count_ > 0) members_[list_[--count_] / 64] = 0;
    }

private:
    std::uint64_t page_limit_;
    ZeroedArray<std::uint64_t> members_;  // a bit for each
    ZeroedArray<std::uint64_t> list_;
    std::uint64_t count_ = 0;
};

class Memories {
public:
    // Begins to observe both.
    Memories(Mmu& leader, Mmu& follower, Recorder& recorder);
    Memories(const Memories&) = delete;
    Memories& operator=(const Memories&) = delete;
    ~Memories();

    // Whose writes follow.
    void set_writer(std::uint64_t rip) { writer_ = rip; }
    // The places that the follower has written since the last call. Nothing: they agree.
    std::optional<MemoryDifference> compare_recent();
    // All pages that either has written since the last call.
    std::optional<MemoryDifference> compare_written();
    // All there is.
    std::optional<MemoryDifference> compare_all();

private:
    // Called while the guest's vector state is in the host's registers: general registers only.
    class LeaderObserver final : public CodePages::WriteObserver {
    public:
        LeaderObserver(Memories& owner, Recorder& recorder) : owner_{owner}, recorder_{recorder} {}
        bool grants_write(GuestPhysical address) noexcept override;
        void wrote(GuestPhysical address, std::uint64_t length) noexcept override;

    private:
        Memories& owner_;
        Recorder& recorder_;
    };
    class FollowerObserver final : public CodePages::WriteObserver {
    public:
        explicit FollowerObserver(Memories& owner) : owner_{owner} {}
        bool grants_write(GuestPhysical address) noexcept override;
        void wrote(GuestPhysical address, std::uint64_t length) noexcept override;

    private:
        Memories& owner_;
    };

    std::optional<MemoryDifference> compare(GuestPhysical start, std::uint64_t length) const;

    Mmu& leader_;
    Mmu& follower_;
    LeaderObserver leader_observer_;
    FollowerObserver follower_observer_;
    struct RecentWrite {
        GuestPhysical address;
        std::uint64_t rip;
    };
    std::vector<RecentWrite> recent_;
    std::uint64_t writer_ = 0;
    PageSet written_;
};

}  // namespace undercroft::lockstep
