// SPDX-License-Identifier: Apache-2.0
// AddressSpaces: what a guest's writes of CR3 tell of its processes, without anybody asking the guest.
//
// A kernel loads CR3 when it goes on with a process of another address space. So writes of another value are
// switches of processes, and the values that were loaded lately stand for the processes that ran: threads of
// one process count once, kernel threads (which borrow an address space) not at all.
// Source: Jones, Arpaci-Dusseau, Arpaci-Dusseau, "Antfarm: Tracking Processes in a Virtual Machine
// Environment", USENIX 2006.
//
// Written by the vCPU's thread, in helpers of translated code; read by any.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace undercroft {

class AddressSpaces {
public:
    void loaded(std::uint64_t cr3) noexcept {
        std::uint64_t page = cr3 >> 12 & page_mask;
        if (page == current_) return;
        current_ = page;
        switches_.store(switches() + 1, std::memory_order_relaxed);
        Slot& slot = slots_[(page ^ page >> 8) % slots_.size()];
        slot.page.store(page, std::memory_order_relaxed);
        slot.when.store(__builtin_ia32_rdtsc(), std::memory_order_relaxed);
    }

    std::uint64_t switches() const noexcept { return switches_.load(std::memory_order_relaxed); }
    // Appends the pages of those that were loaded since then, by the host's TSC. Of a thousand or more, some
    // are missed.
    void since(std::uint64_t ticks, std::vector<std::uint64_t>& pages) const {
        for (const Slot& slot : slots_) {
            if (slot.when.load(std::memory_order_relaxed) >= ticks &&
                slot.page.load(std::memory_order_relaxed) != 0)
                pages.push_back(slot.page.load(std::memory_order_relaxed));
        }
    }

private:
    static constexpr std::uint64_t page_mask = (std::uint64_t{1} << 40) - 1;  // without PCID's bit 63
    struct Slot {
        std::atomic<std::uint64_t> page{0};
        std::atomic<std::uint64_t> when{0};
    };

    std::uint64_t current_ = 0;
    std::atomic<std::uint64_t> switches_{0};
    std::array<Slot, 1024> slots_;
};

}  // namespace undercroft
