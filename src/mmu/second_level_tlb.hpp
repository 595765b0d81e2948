// SPDX-License-Identifier: Apache-2.0
// The second-level TLB: virtual page -> physical page, host page and rights, behind the software TLB.
//
// A set-associative hash of 4 KiB translations: 2 entries to a set, a set to a cache line. It holds what the
// guest's tables said, not what one mode may do with it, so one entry serves all access modes and survives
// changes of mode. Pages of 2 MiB and 1 GiB are entered 4 KiB at a time (LargePages remembers where).
//
// An entry is alive while its generation is the current one of its kind: flushing is a new number. Entries of
// pages with G set have a number of their own and so survive CR3 writes.
//
// Owned by one vCPU. Everything inline is called from helpers of translated code: general registers only.

#pragma once

#include "mmu/page_rights.hpp"
#include "mmu/zeroed_array.hpp"

#include <cstddef>
#include <cstdint>

namespace undercroft {

struct SecondLevelEntry {
    std::uint64_t page;              // virtual address of the page
    std::uint64_t frame_and_rights;  // PFN in bits 63..12, PageRights in bits 7..0
    std::byte* host_page;            // null: not RAM, or had no frame of its own
    std::uint64_t generation;        // zero: never filled, or removed

    std::uint64_t pfn() const noexcept { return frame_and_rights >> 12; }
    std::uint8_t rights() const noexcept { return static_cast<std::uint8_t>(frame_and_rights); }
};

class SecondLevelTlb {
public:
    static constexpr unsigned set_bits = 13;
    static constexpr unsigned set_count = 1u << set_bits;

    SecondLevelTlb() : sets_{set_count} { flush_all(); }

    // The live entry of the page, or null. Valid until the next change.
    const SecondLevelEntry* find(std::uint64_t page) const noexcept {
        const Set& set = sets_[index_of(page)];
        if (set.way[0].page == page && alive(set.way[0])) return &set.way[0];
        if (set.way[1].page == page && alive(set.way[1])) return &set.way[1];
        return nullptr;
    }

    void insert(std::uint64_t page, std::uint64_t pfn, std::uint8_t rights, std::byte* host_page) noexcept;
    void remove(std::uint64_t page) noexcept { remove_of(pcid_, page); }
    // Also the page's global entry.
    void remove_of(unsigned pcid, std::uint64_t page) noexcept;
    // All pages in [start, start + length), both multiples of 4096, in every address space.
    void remove_range(std::uint64_t start, std::uint64_t length) noexcept;

    static constexpr unsigned address_space_count = 4096;
    // Entries are looked up and inserted for this address space from now on.
    void select(unsigned pcid) noexcept {
        pcid_ = pcid;
        if (generations_[pcid] <= oldest_) generations_[pcid] = ++last_generation_;
        generation_ = generations_[pcid];
    }
    unsigned selected() const noexcept { return pcid_; }
    void flush_address_space(unsigned pcid) noexcept {
        generations_[pcid] = 0;
        select(pcid_);
    }
    // In every address space.
    void flush_non_global() noexcept {
        oldest_ = last_generation_;
        select(pcid_);
    }
    void flush_all() noexcept {
        flush_non_global();
        global_generation_ = ++last_generation_;
    }

private:
    struct alignas(64) Set {
        SecondLevelEntry way[2];
    };
    static_assert(sizeof(Set) == 64, "a set is a cache line");

    // User programs live at random high addresses, kernels at a few fixed ones: the upper bits have to count.
    static unsigned index_of(std::uint64_t page) noexcept {
        std::uint64_t number = page >> 12;
        return static_cast<unsigned>(number ^ number >> set_bits ^ number >> 2 * set_bits) & (set_count - 1);
    }
    bool alive(const SecondLevelEntry& entry) const noexcept {
        return entry.generation == generation_ || entry.generation == global_generation_;
    }

    ZeroedArray<Set> sets_;
    ZeroedArray<std::uint64_t> generations_{address_space_count};  // dead up to and including oldest_
    unsigned pcid_ = 0;
    std::uint64_t generation_ = 0;  // of pcid_
    std::uint64_t global_generation_ = 0;
    std::uint64_t oldest_ = 0;
    std::uint64_t last_generation_ = 0;
};

}  // namespace undercroft
