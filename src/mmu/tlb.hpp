// SPDX-License-Identifier: Apache-2.0
// The software TLB: what translated code probes inline. One array per access mode.
//
// A probe for an access of `size` bytes at `address`, as generated code does it:
//     entry  = entries[mode][(address >> 12) % entry_count]
//     offset = address - entry.read_tag            (or write_tag)
//     hit    = offset <= 4096 - size (unsigned)    right page and no page crossing in one compare
//     host   = entry.host_page + offset, or address + entry.distance
// The tag is the virtual page's address. An entry that must not hit holds an address whose index is another
// one (never_tag), so that no address which selects the entry can match it.
// Owned by one vCPU; touched only by the thread that runs it.

#pragma once

#include "x86/paging.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace undercroft {

// When the guest goes on with another address space (PCID): what there still is of that one from when it was
// last used.
enum class OldEntries : std::uint8_t { Drop, Keep };

struct TlbEntry {
    std::uint64_t read_tag;
    std::uint64_t write_tag;
    std::byte* host_page;
    std::uint64_t distance;  // host_page minus the page's address
};
static_assert(sizeof(TlbEntry) == 32, "generated code scales the index by 32");
static_assert(offsetof(TlbEntry, write_tag) == 8 && offsetof(TlbEntry, host_page) == 16 &&
                  offsetof(TlbEntry, distance) == 24,
              "generated code addresses these fields");

struct Tlb {
    static constexpr unsigned entry_bits = 12;
    static constexpr unsigned entry_count = 1u << entry_bits;

    using Array = std::array<TlbEntry, entry_count>;
    std::array<Array, access_mode_count> entries;
    // Of each entry: the PFN in bits 51..0; bit 63: the mapping is global.
    std::array<std::array<std::uint64_t, entry_count>, access_mode_count> physical_page;

    static constexpr unsigned index_of(std::uint64_t address) {
        return static_cast<unsigned>(address >> 12) & (entry_count - 1);
    }
    static constexpr std::uint64_t never_tag(unsigned index) { return std::uint64_t{index ^ 1} << 12; }
    TlbEntry& entry(AccessMode mode, std::uint64_t address) {
        return entries[static_cast<unsigned>(mode)][index_of(address)];
    }
    std::uint64_t physical(AccessMode mode, std::uint64_t address) const {
        return physical_page[static_cast<unsigned>(mode)][index_of(address)];
    }
};

}  // namespace undercroft
