// SPDX-License-Identifier: Apache-2.0
// Which physical pages, and which 64-byte granules of them, hold translated code.
//
// Tracked by physical page because Linux patches its text through aliases and devices write too. A page with
// code has no direct write tag in any software TLB: every write to it reaches wrote(), which tells the
// listener (the translator's cache) only when granules with code are touched.
//
// These are the books of one vCPU's translations. If its machine has several, they tell each other of pages
// and writes through a CodeExchange.

#pragma once

#include "mmu/code_exchange.hpp"
#include "mmu/full_fence.hpp"
#include "mmu/zeroed_array.hpp"
#include "x86/address.hpp"

#include <array>
#include <atomic>
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
        // Any byte of any page with code may have.
        virtual void all_code_written();

    protected:
        ~Listener() = default;
    };
    // Who grants write tags, and takes them back when a page holds code for the first time.
    class Watcher {
    public:
        virtual void page_became_code(std::uint64_t pfn) = 0;
        // Has a write tag for it been granted since? Any thread.
        virtual bool may_grant_write(std::uint64_t pfn) const noexcept = 0;
        virtual void forget_granted_writes() noexcept = 0;

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

    // `member` of the exchange; without one, of a machine with one vCPU.
    explicit CodePages(std::uint64_t page_limit, CodeExchange* exchange = nullptr, unsigned member = 0)
        : page_limit_{page_limit}, granules_{page_limit}, exchange_{exchange}, member_{member} {
        if (exchange_ != nullptr) exchange_->join(member, *this);
    }

    void set_listener(Listener* listener) { listener_ = listener; }
    void set_write_observer(WriteObserver* observer) { write_observer_ = observer; }
    WriteObserver* write_observer() const noexcept { return write_observer_; }
    void add_watcher(Watcher* watcher) { watchers_.push_back(watcher); }
    void remove_watcher(Watcher* watcher) { std::erase(watchers_, watcher); }

    // Has this vCPU, or another one, translations from the page?
    bool holds_code(std::uint64_t pfn) const noexcept {
        if (pfn >= page_limit_) return false;
        return exchange_ == nullptr ? granules(pfn) != 0 : exchange_->has_owners(pfn);
    }
    // Are there other vCPUs?
    bool is_shared() const noexcept { return exchange_ != nullptr; }

    // Before the bytes of a page are read for translation: sees to it that every write to it is told from now
    // on. True: others had to be waited for; begin again after serve(). Not for helpers of translated code.
    [[nodiscard]] bool claim(std::uint64_t pfn);
    bool is_claimed(std::uint64_t pfn) const noexcept {
        return exchange_ == nullptr || (pfn < page_limit_ && exchange_->owns(member_, pfn));
    }
    // Before those of [address, address + length), within one page that has been claimed, are read.
    void about_to_read(GuestPhysical address, std::uint64_t length) noexcept {
        if (exchange_ == nullptr || address.page() >= page_limit_) return;
        set(address.page(), granules(address.page()) | mask_of(address.page_offset(), length));
        full_fence();
    }
    // Between two instructions, when the attention word asks for it.
    void serve() {
        if (exchange_ != nullptr) exchange_->serve(member_);
    }
    // Around an instruction that needs memory for itself, before its addresses are translated.
    void begin_exclusive() {
        if (exchange_ != nullptr) exchange_->begin_exclusive(member_);
    }
    void end_exclusive() {
        if (exchange_ != nullptr) exchange_->end_exclusive(member_);
    }

    // Bytes [address, address + length), within one page, now have a translation.
    // Pages that are not RAM are ignored: nothing can tell when they change, so they must not be translated.
    void mark(GuestPhysical address, std::uint64_t length) noexcept;
    // Replaces the page's granules by `mask` (bit i = bytes 64i..64i+63), after blocks were discarded.
    void set_granules(std::uint64_t pfn, std::uint64_t mask) noexcept {
        if (pfn >= page_limit_) return;
        if ((granules(pfn) & ~mask) != 0) note_change(pfn);
        set(pfn, mask);
        if (mask == 0 && exchange_ != nullptr) exchange_->release(member_, pfn);
    }
    std::uint64_t granules(std::uint64_t pfn) const noexcept {
        if (pfn >= page_limit_) return 0;
        return std::atomic_ref{const_cast<std::uint64_t&>(granules_[pfn])}.load(std::memory_order_relaxed);
    }

    // To be called after every write to guest RAM that did not go through a TLB write tag. Any length; may
    // span pages.
    void wrote(GuestPhysical address, std::uint64_t length) noexcept {
        if (write_observer_ != nullptr) [[unlikely]]
            write_observer_->wrote(address, length);
        if (exchange_ != nullptr) full_fence();
        if (holds_code(address.page()) || address.page_offset() + length > 4096)
            wrote_slowly(address, length);
    }

    // For the exchange. The first by any thread, the others between two instructions.
    bool may_grant_write(std::uint64_t pfn) const noexcept;
    void other_made_code(std::uint64_t pfn) noexcept;
    void other_wrote(GuestPhysical address, std::uint64_t length) noexcept;
    void anything_may_have_changed() noexcept;

    // How often so far a granule that was marked has been written, or was no longer marked: whoever has
    // looked at code without telling the listener has to look again. By the owner.
    std::uint64_t changes() const noexcept { return changes_; }
    // Since there were `seen`, which becomes changes(): action(pfn) for each, or all() if there were too
    // many.
    template <class Action, class All>
    void for_each_change(std::uint64_t& seen, Action action, All all) const {
        if (changes_ - seen > recent_count) {
            all();
        } else {
            for (std::uint64_t n = seen; n != changes_; ++n) action(recent_changes_[n % recent_count]);
        }
        seen = changes_;
    }

    // Mask of the granules that [offset, offset + length) of a page touches.
    static constexpr std::uint64_t mask_of(std::uint64_t offset, std::uint64_t length) {
        std::uint64_t first = offset / granule_size;
        std::uint64_t last = (offset + length - 1) / granule_size;
        return (~0ull >> (63 - (last - first))) << first;
    }

private:
    void note_change(std::uint64_t pfn) noexcept { recent_changes_[changes_++ % recent_count] = pfn; }
    void wrote_slowly(GuestPhysical address, std::uint64_t length) noexcept;
    void set(std::uint64_t pfn, std::uint64_t mask) noexcept {
        std::atomic_ref{granules_[pfn]}.store(mask, std::memory_order_relaxed);
    }

    std::uint64_t page_limit_;
    ZeroedArray<std::uint64_t> granules_;  // per PFN; zero: no code. Read by other vCPUs
    CodeExchange* exchange_;
    unsigned member_;
    Listener* listener_ = nullptr;
    WriteObserver* write_observer_ = nullptr;
    std::vector<Watcher*> watchers_;
    static constexpr std::uint64_t recent_count = 64;
    std::uint64_t changes_ = 0;
    std::array<std::uint64_t, recent_count> recent_changes_{};  // PFNs
};

}  // namespace undercroft
