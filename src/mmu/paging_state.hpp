// SPDX-License-Identifier: Apache-2.0
// The control registers that paging depends on. Source: Intel SDM vol. 3A section 4.1.1.

#pragma once

#include "x86/registers.hpp"

#include <cstdint>

namespace undercroft {

// This is their home: the processor's instructions write them, the MMU reads them. After a change the TLB has
// to be flushed as the processor would (see Mmu).
struct PagingState {
    std::uint64_t cr0 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    // The guest's kernel fills the TLB (docs/softtlb.md). CR3 then means nothing, and the address space is
    // `asid`.
    bool software_tlb = false;
    std::uint8_t asid = 0;

    unsigned pcid() const {
        if (software_tlb) return asid;
        return (cr4 & CR4::PCIDE) != 0 ? static_cast<unsigned>(cr3 & 0xfff) : 0;
    }
    bool paging() const { return (cr0 & CR0::PG) != 0; }
    bool write_protect() const { return (cr0 & CR0::WP) != 0; }
    bool global_pages() const { return (cr4 & CR4::PGE) != 0; }
    bool smep() const { return (cr4 & CR4::SMEP) != 0; }
    bool no_execute() const { return (efer & EFER::NXE) != 0; }
    bool long_mode() const { return (efer & EFER::LMA) != 0; }
};

}  // namespace undercroft
