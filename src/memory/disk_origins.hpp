// SPDX-License-Identifier: Apache-2.0
// DiskOrigins: which pages of a machine hold what was read from its disks, and has not changed since: the
// guest's page cache, inferred without asking it. (The chapter's "information gap"; what such a page holds
// could be read again instead of being swapped.)
//
// A device's thread notes a page when it has read a whole one from a disk. The passes of PageSharing, which
// hash pages anyway, find out when one has changed; so a change shows some seconds later.

#pragma once

#include "memory/page_hash.hpp"
#include "memory/reservation.hpp"

#include <atomic>
#include <cstdint>

namespace undercroft {

class DiskOrigins {
public:
    explicit DiskOrigins(std::uint64_t pages) : words_{pages * sizeof(std::uint32_t)} {}
    explicit operator bool() const { return static_cast<bool>(words_); }

    // Any thread. The page was just read from a disk.
    void note(std::uint64_t pfn, const std::byte* page) noexcept {
        if (word(pfn).exchange(tag(page_hash(page)), std::memory_order_relaxed) == 0) ++count_;
    }
    // Its contents have this hash now.
    void look(std::uint64_t pfn, std::uint64_t hash) noexcept {
        if (pages() == 0) return;  // without touching the table, of a machine without disks
        if (std::uint32_t noted = word(pfn).load(std::memory_order_relaxed); noted != tag(hash))
            forget(pfn, noted);
    }
    // It has no contents any more.
    void forget(std::uint64_t pfn) noexcept {
        if (pages() != 0) forget(pfn, word(pfn).load(std::memory_order_relaxed));
    }

    std::uint64_t pages() const noexcept { return count_.load(std::memory_order_relaxed); }

private:
    static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash) | 1; }
    std::atomic_ref<std::uint32_t> word(std::uint64_t pfn) const {
        return std::atomic_ref{reinterpret_cast<std::uint32_t*>(words_.data())[pfn]};
    }
    // Unless it was read again meanwhile.
    void forget(std::uint64_t pfn, std::uint32_t noted) noexcept {
        if (noted != 0 && word(pfn).compare_exchange_strong(noted, 0, std::memory_order_relaxed)) --count_;
    }

    Reservation words_;  // by PFN; zero: not from a disk
    std::atomic<std::uint64_t> count_{0};
};

}  // namespace undercroft
