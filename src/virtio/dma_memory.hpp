// SPDX-License-Identifier: Apache-2.0
// DmaMemory: guest memory as devices reach it.
//
// Every address comes from the guest: an access that is not wholly RAM, or is not aligned where it has to be,
// fails and does nothing. Other processors write the same memory meanwhile, so each value is loaded once.
// Thread-safe, if `wrote` is.

#pragma once

#include "base/buffers.hpp"
#include "memory/guest_memory.hpp"
#include "x86/paging.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

namespace undercroft {

class DmaMemory {
public:
    // Told of what devices have written, afterwards (there may be translations of it).
    using Wrote = std::function<void(GuestPhysical address, std::uint64_t length)>;

    DmaMemory(GuestMemory& memory, Wrote wrote) : memory_{memory}, wrote_{std::move(wrote)} {}

    // One field of a ring, which the driver may write or read at the same time: acquire and release.
    template <class T>
    [[nodiscard]] bool load(GuestPhysical address, T& value) const {
        if (address.value() % sizeof(T) != 0) return false;  // aligned: within one page
        const std::byte* field = memory_.readable(address);
        if (field == nullptr) return false;
        value = std::atomic_ref{*reinterpret_cast<T*>(const_cast<std::byte*>(field))}.load(
            std::memory_order_acquire);
        return true;
    }
    template <class T>
    [[nodiscard]] bool store(GuestPhysical address, T value) const {
        if (address.value() % sizeof(T) != 0) return false;
        std::byte* field = memory_.writable(address);
        if (field == nullptr) return false;
        std::atomic_ref{*reinterpret_cast<T*>(field)}.store(value, std::memory_order_release);
        wrote(address, sizeof value);
        return true;
    }
    [[nodiscard]] bool read(GuestPhysical from, std::span<std::byte> to) const {
        return memory_.read(from, to);
    }

    // To be passed by other threads than vCPUs' while they use what find() found, and find it.
    RequestGate& requests() const { return memory_.requests(); }
    // Adds where the range lies in our process, for one request.
    [[nodiscard]] bool find(GuestPhysical address, std::uint64_t length, Access access, Buffers& into) const;
    void wrote(GuestPhysical address, std::uint64_t length) const {
        if (wrote_) wrote_(address, length);
    }
    GuestMemory& guest() const { return memory_; }
    // Pages that lie in the range as a whole, and RAM, now hold what a disk holds.
    void came_from_disk(GuestPhysical address, std::uint64_t length) const {
        std::uint64_t end = (address + length).page();
        for (std::uint64_t pfn = (address + 0xfff).page(); pfn < end; ++pfn) {
            if (const std::byte* page = memory_.own_page(pfn)) memory_.disk_origins().note(pfn, page);
        }
    }

private:
    GuestMemory& memory_;
    Wrote wrote_;
};

}  // namespace undercroft
