// SPDX-License-Identifier: Apache-2.0
// One attempt at vectoring a trap, by mode. Private to cpu/; deliver.cpp decides what a failed attempt
// becomes.
//
// True: the vCPU is at the handler's first instruction. False: `fault` happened on the way, and nothing has
// changed.

#pragma once

#include "cpu/vcpu.hpp"
#include "x86/trap.hpp"

#include <cstdint>

namespace undercroft {

// EXT of the error codes of faults on the way: set unless the program itself asked for the interrupt.
inline std::uint32_t external_bit(const Trap& trap) noexcept {
    return trap.kind == TrapKind::SoftwareInterrupt ? 0 : 1;
}
// The error code that names an IDT entry.
inline std::uint32_t gate_error(const Trap& trap) noexcept {
    return static_cast<std::uint32_t>(trap.vector) << 3 | 2 | external_bit(trap);
}
// The RIP that the frame on the handler's stack shows.
inline std::uint64_t return_address(const Vcpu& vcpu, const Trap& trap) noexcept {
    return trap.kind == TrapKind::SoftwareInterrupt ? trap.return_rip : vcpu.rip;
}
// The RFLAGS that the frame shows: RF is set for faults, so that an instruction breakpoint does not hit
// again, but not for the instruction breakpoint itself (SDM vol. 3B section 17.3.1.1).
inline std::uint64_t pushed_flags(const Vcpu& vcpu, const Trap& trap) noexcept {
    bool instruction_breakpoint = trap.vector == Vector::DB && (trap.address & 0xf) != 0;
    bool resume = trap.kind == TrapKind::Fault && !instruction_breakpoint;
    return vcpu.rflags() | (resume ? RFLAGS::RF : 0);
}

[[nodiscard]] bool deliver_in_long_mode(Vcpu& vcpu, const Trap& trap, Trap& fault) noexcept;
[[nodiscard]] bool deliver_in_protected_mode(Vcpu& vcpu, const Trap& trap, Trap& fault) noexcept;
[[nodiscard]] bool deliver_in_real_mode(Vcpu& vcpu, const Trap& trap, Trap& fault) noexcept;

}  // namespace undercroft
