// SPDX-License-Identifier: Apache-2.0
// The few checks that every instruction of this room makes, and how a failed one is told: private to cpu/.
//
//   if (vcpu.cpl != 0) return raise(trap, Vector::GP, 0);

#pragma once

#include "cpu/vcpu.hpp"
#include "x86/trap.hpp"

#include <cstdint>

namespace undercroft {

// Stores the fault and returns false, so that a failed check is one line.
[[nodiscard]] inline bool raise(Trap& trap, Vector vector) noexcept {
    trap = Trap::fault(vector);
    return false;
}
[[nodiscard]] inline bool raise(Trap& trap, Vector vector, std::uint32_t error_code) noexcept {
    trap = Trap::fault(vector, error_code);
    return false;
}

// #GP(0) above CPL 0. Real mode runs at CPL 0.
[[nodiscard]] inline bool require_cpl0(const Vcpu& vcpu, Trap& trap) noexcept {
    return vcpu.cpl == 0 ? true : raise(trap, Vector::GP, 0);
}

inline bool protected_mode(const Vcpu& vcpu) noexcept { return (vcpu.paging.cr0 & CR0::PE) != 0; }

// The error code that names a selector: its RPL bits carry EXT and IDT instead.
inline std::uint32_t selector_error(std::uint16_t selector) noexcept { return selector & 0xfffcu; }
inline bool is_null(std::uint16_t selector) noexcept { return (selector & 0xfffc) == 0; }

// IF, or what blocked NMIs, has just changed: an event that waited for it becomes a reason to look up.
inline void notice_pending_events(Vcpu& vcpu) noexcept {
    if (vcpu.pending_interrupt != 0 && vcpu.interrupt_flag != 0) vcpu.request(Attention::Interrupt);
    if (vcpu.pending_nmi != 0 && vcpu.nmi_blocked == 0) vcpu.request(Attention::Nmi);
}

}  // namespace undercroft
