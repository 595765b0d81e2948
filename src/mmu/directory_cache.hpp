// SPDX-License-Identifier: Apache-2.0
// Remembers which page table serves which 2 MiB of virtual addresses, so that most walks read one entry.
//
// The processor's PDE cache: Intel SDM vol. 3A section 4.10.3. As there, every INVLPG, every CR3 write and
// every page fault empties it, and only entries whose A bits are set at all levels are in it.

#pragma once

#include "x86/address.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace undercroft {

class DirectoryCache {
public:
    struct Entry {
        std::uint64_t region = 0;      // address >> 21
        std::uint64_t generation = 0;  // zero: never filled
        std::uint64_t table = 0;       // physical address of the page table
        std::byte* host = nullptr;     // and where it lies
        std::uint64_t all = 0;         // AND of the entries above it
        std::uint64_t any = 0;         // OR of them
    };

    const Entry* find(GuestVirtual address) const noexcept {
        const Entry& entry = entries_[index_of(address)];
        return entry.region == address.value() >> 21 && entry.generation == generation_ ? &entry : nullptr;
    }
    void insert(GuestVirtual address, std::uint64_t table, std::byte* host, std::uint64_t all,
                std::uint64_t any) noexcept {
        entries_[index_of(address)] = {address.value() >> 21, generation_, table, host, all, any};
    }
    void flush() noexcept { generation_++; }

private:
    static constexpr unsigned index_bits = 6;
    static unsigned index_of(GuestVirtual address) noexcept {
        std::uint64_t region = address.value() >> 21;
        return static_cast<unsigned>(region ^ region >> index_bits ^ region >> 3 * index_bits) &
               ((1u << index_bits) - 1);
    }

    std::array<Entry, 1u << index_bits> entries_{};
    std::uint64_t generation_ = 1;
};

}  // namespace undercroft
