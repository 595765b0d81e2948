// SPDX-License-Identifier: Apache-2.0
// The pmap: from guest-physical page numbers to the machine frames that hold them.
//
// One flat table per machine, one word per guest page up to the highest RAM page; its untouched parts cost
// nothing. Words are read and replaced as wholes, by every thread: a page that gets its first frame from two
// vCPUs at once gets one of them.

#pragma once

#include "memory/pmap_entry.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace undercroft {

class PhysicalMap {
public:
    PhysicalMap() = default;
    // `page_limit` pages, all unbacked. Empty when there is no memory for the table: see valid().
    explicit PhysicalMap(std::uint64_t page_limit)
        // calloc rather than a vector: a large table comes as fresh zero pages
        : entries_{static_cast<std::uint32_t*>(std::calloc(page_limit, sizeof(std::uint32_t)))},
          page_limit_{entries_ ? page_limit : 0} {}
    bool valid() const { return entries_ != nullptr; }

    PmapEntry entry(std::uint64_t pfn) const noexcept {
        if (pfn >= page_limit_) return {};
        return PmapEntry::from_word(word(pfn).load(std::memory_order_acquire));
    }
    // Unless the entry is no longer `seen`, which becomes what it is.
    bool replace(std::uint64_t pfn, PmapEntry& seen, PmapEntry by) noexcept {
        std::uint32_t expected = seen.word();
        bool done = word(pfn).compare_exchange_strong(expected, by.word(), std::memory_order_acq_rel);
        seen = PmapEntry::from_word(expected);
        return done;
    }
    // While nothing but the signs of use can change.
    void set(std::uint64_t pfn, PmapEntry by) noexcept {
        word(pfn).store(by.word(), std::memory_order_release);
    }
    void set_used(std::uint64_t pfn) noexcept {
        word(pfn).fetch_or(PmapEntry::used, std::memory_order_relaxed);
    }
    void clear_used(std::uint64_t pfn, UseWatcher watcher) noexcept {
        word(pfn).fetch_and(~PmapEntry::used_since(watcher), std::memory_order_relaxed);
    }
    std::uint64_t page_limit() const noexcept { return page_limit_; }

private:
    struct Free {
        void operator()(std::uint32_t* table) const { std::free(table); }
    };
    std::atomic_ref<std::uint32_t> word(std::uint64_t pfn) const noexcept {
        return std::atomic_ref{entries_[pfn]};
    }

    std::unique_ptr<std::uint32_t[], Free> entries_;
    std::uint64_t page_limit_ = 0;
};

}  // namespace undercroft
