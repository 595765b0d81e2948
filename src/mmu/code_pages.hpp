// SPDX-License-Identifier: Apache-2.0
// Which physical pages, and which 64-byte granules of them, hold translated code.
//
// Tracked by physical page because Linux patches its text through aliases and devices write too. A page with
// code has no direct write tag in any software TLB: every write to it reaches wrote(), which tells the
// listener (the translator's cache) only when granules with code are touched.

#pragma once

#include "mmu/zeroed_array.hpp"
#include "x86/address.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace undercroft {

class CodePages {
public:
    static constexpr unsigned granule_size = 64;

    class Listener {
    public:
        // Bytes [address, address + length) of one page, overlapping code granules, have just been written.
        virtual void code_written(GuestPhysical address, std::uint64_t length) = 0;

    protected:
        ~Listener() = default;
    };
    // Told when a page holds code for the first time: drop write tags that point to it.
    class Watcher {
    public:
        virtual void page_became_code(std::uint64_t pfn) = 0;

    protected:
        ~Watcher() = default;
    };

    // Told of writes to guest RAM, for those who compare memories (engine/lockstep).
    class WriteObserver {
    public:
        // A write to RAM at `address` follows, to the end of its page at most. May the software TLB grant
        // further writes to the page without asking?
        virtual bool grants_write(GuestPhysical address) noexcept = 0;
        // The page walk or a device has written.
        virtual void wrote(GuestPhysical address, std::uint64_t length) noexcept = 0;

    protected:
        ~WriteObserver() = default;
    };

    explicit CodePages(std::uint64_t page_limit) : page_limit_{page_limit}, granules_{page_limit} {}

    void set_listener(Listener* listener) { listener_ = listener; }
    void set_write_observer(WriteObserver* observer) { write_observer_ = observer; }
    WriteObserver* write_observer() const noexcept { return write_observer_; }
    void add_watcher(Watcher* watcher) { watchers_.push_back(watcher); }

    bool holds_code(std::uint64_t pfn) const noexcept { return pfn < page_limit_ && granules_[pfn] != 0; }

    // Bytes [address, address + length), within one page, now have a translation.
    // Pages that are not RAM are ignored: nothing can tell when they change, so they must not be translated.
    void mark(GuestPhysical address, std::uint64_t length) noexcept;
    // Replaces the page's granules by `mask` (bit i = bytes 64i..64i+63), after blocks were discarded.
    void set_granules(std::uint64_t pfn, std::uint64_t mask) noexcept {
        if (pfn < page_limit_) granules_[pfn] = mask;
    }
    std::uint64_t granules(std::uint64_t pfn) const { return pfn < page_limit_ ? granules_[pfn] : 0; }

    // To be called after every write to guest RAM that did not go through a TLB write tag. Any length; may
    // span pages.
    void wrote(GuestPhysical address, std::uint64_t length) noexcept {
        if (write_observer_ != nullptr) [[unlikely]]
            write_observer_->wrote(address, length);
        if (holds_code(address.page()) || address.page_offset() + length > 4096)
            wrote_slowly(address, length);
    }

    // Mask of the granules that [offset, offset + length) of a page touches.
    static constexpr std::uint64_t mask_of(std::uint64_t offset, std::uint64_t length) {
        std::uint64_t first = offset / granule_size;
        std::uint64_t last = (offset + length - 1) / granule_size;
        return (~0ull >> (63 - (last - first))) << first;
    }

private:
    void wrote_slowly(GuestPhysical address, std::uint64_t length) noexcept;

    std::uint64_t page_limit_;
    ZeroedArray<std::uint64_t> granules_;  // per PFN; zero: no code
    Listener* listener_ = nullptr;
    WriteObserver* write_observer_ = nullptr;
    std::vector<Watcher*> watchers_;
};

}  // namespace undercroft
