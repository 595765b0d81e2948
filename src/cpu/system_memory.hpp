// SPDX-License-Identifier: Apache-2.0
// Implicit supervisor accesses: descriptor tables, the TSS. Private to cpu/.
//
// One probe of the software TLB, as translated code does it, then the MMU: interrupt delivery makes three or
// four of these, and a call for each would be its greatest cost.
// Source: Intel SDM vol. 3A section 4.6.1 (supervisor-mode accesses whatever CPL is).

#pragma once

#include "cpu/vcpu.hpp"
#include "x86/trap.hpp"

#include <cstdint>

namespace undercroft {

template <class T>
[[nodiscard]] inline bool read_system(Vcpu& vcpu, std::uint64_t address, T& value, Trap& trap) noexcept {
    AccessMode mode = vcpu.system_access_mode();
    const TlbEntry& entry = vcpu.tlb.entry(mode, address);
    std::uint64_t offset = address - entry.read_tag;
    if (offset <= page_size - sizeof(T)) [[likely]] {
        __builtin_memcpy(&value, entry.host_page + offset, sizeof(T));
        return true;
    }
    return vcpu.mmu->read(GuestVirtual{address}, &value, sizeof(T), mode, trap);
}

template <class T>
[[nodiscard]] inline bool write_system(Vcpu& vcpu, std::uint64_t address, const T& value,
                                       Trap& trap) noexcept {
    return vcpu.mmu->write(GuestVirtual{address}, &value, sizeof(T), vcpu.system_access_mode(), trap);
}

}  // namespace undercroft
