// SPDX-License-Identifier: Apache-2.0
// The walk through the guest's page tables, as hardware does it.
//
// Source: Intel SDM vol. 3A sections 4.5 (4-level paging), 4.6 (rights), 4.7 (error codes), 4.8 (A and D).
// The first level whose entry is not present, or has a reserved bit set, decides; rights are looked at when
// the whole walk is done. A and D are set only when the access is allowed, by compare-exchange: other vCPUs
// and the guest itself may write the tables meanwhile. A table outside RAM reads as all ones, which is a
// reserved-bit fault.
//
// Left out on purpose: 5-level, PAE and 32-bit paging. Outside long mode every address is reported as not
// present: Linux enables paging and long mode with one write to CR0, also on the start-up path of further
// processors. Bits that only AMD reserves (G in PML4 and PDP table entries) are ignored, as Intel does.

#pragma once

#include "memory/guest_memory.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/directory_cache.hpp"
#include "mmu/page_rights.hpp"
#include "mmu/paging_state.hpp"
#include "x86/address.hpp"
#include "x86/trap.hpp"

#include <cstdint>

namespace undercroft {

// Sets A at each level and, for writes, D at the leaf; or, for a look ahead, neither.
enum class WalkEffect : std::uint8_t { AccessedAndDirty, None };

struct WalkResult {
    std::uint64_t pfn = 0;    // of the 4 KiB page, also inside a large one
    std::uint8_t rights = 0;  // PageRights
};

class PageWalk {
public:
    PageWalk(GuestMemory& memory, CodePages& code_pages, const PagingState& state)
        : memory_{memory}, code_pages_{code_pages}, state_{state} {}

    // `address` is canonical. False: `trap` is the #PF, and nothing has changed. General registers only.
    [[nodiscard]] bool walk(GuestVirtual address, Access access, AccessMode mode, WalkEffect effect,
                            WalkResult& result, Trap& trap) noexcept;

    // Forgets what it knows of upper levels. Due with every flush of a TLB and every change of CR3.
    void flush() noexcept { directories_.flush(); }

private:
    struct Path;

    enum class Outcome : std::uint8_t { Done, Fault, Retry };
    Outcome attempt(GuestVirtual address, Access access, AccessMode mode, WalkEffect effect,
                    WalkResult& result, std::uint32_t& error) noexcept;
    Outcome descend(GuestVirtual address, Path& path, std::uint32_t& error) const noexcept;
    void start(GuestVirtual address, Path& path) const noexcept;
    bool mark_used(const Path& path, Access access) const noexcept;

    GuestMemory& memory_;
    CodePages& code_pages_;
    const PagingState& state_;
    DirectoryCache directories_;
};

}  // namespace undercroft
