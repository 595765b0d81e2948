// SPDX-License-Identifier: Apache-2.0
// Reflecting traps: handing an exception or interrupt to the guest kernel's own handler.
//
// Source: Intel SDM vol. 3A sections 6.12 to 6.15 (long mode: 6.14). General registers only.

#pragma once

#include "cpu/vcpu.hpp"
#include "x86/trap.hpp"

namespace undercroft {

// Vectors `trap` through the IDT: gate and segment checks, IST and TSS stacks, the frame on the handler's
// stack, CR2, RF, IF/TF/NT/RF cleared. Clears `interrupt_shadow`, wakes a halted vCPU. A fault on the way
// becomes the second exception by the manual's table (benign, contributory, page fault -> #DF); a fault in
// delivering #DF is a triple fault: activity = Shutdown, and `attention` is set so that attend() tells it.
// For PF `address` becomes CR2, for DB it is or'ed into DR6 (B0..B3 afresh) and DR7.GD is cleared. A fault
// with B0..B3 among these is an instruction breakpoint: the pushed RF stays as it is.
void deliver(Vcpu& vcpu, const Trap& trap) noexcept;

enum class Attended : std::uint8_t {
    Continue,  // go on at vcpu.rip (which may be a handler's)
    Halted,    // nothing to run: wait until `attention` is set
    Stop,      // somebody asked for it (Attention::Stop, now cleared)
    Preempt,   // the same for Attention::Preempt
    Shutdown,  // triple fault
};

// Serves the attention word between two instructions: NMI, then external interrupts if IF is set and there is
// no shadow. An interrupt that must wait stays in `pending_interrupt` so that `attention` can be zero
// meanwhile; sti(), popf(), iret(), sysret() set `attention` again when they let a waiting event in. In a
// shadow `attention` stays set: look again after the next instruction. Calls the environment.
Attended attend(Vcpu& vcpu) noexcept;
// The same for bits that the caller has taken from the word; Stop is not among them.
Attended attend_to(Vcpu& vcpu, std::uint32_t bits) noexcept;

}  // namespace undercroft
