// SPDX-License-Identifier: Apache-2.0
// What generated code calls. Every function here runs with guest vector state live in host registers: general
// registers only.
//
// Each leaves the vCPU exact: either it did what the record says and returns where to go on, or it has set
// vcpu.rip and a Leave for the run loop.

#pragma once

#include "engine/translate/cache/block.hpp"

namespace undercroft::translate {

// A software-TLB miss (Site). Returns the host address in r10.
Onward access_missed(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept;
// The shared check of an access group failed: perhaps only a miss, else the unmerged variant goes on from
// record.rip. detail: one if the group's first access only reads; even if a later one writes, this one must
// not set the page's D bit.
Onward range_missed(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept;
// An exit that is not linked (BlockExit).
Onward exit_taken(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
// An indirect branch whose jump-cache slot was not its target's; r10 = target.
Onward indirect_missed(Vcpu& vcpu, Callback& record, std::uint64_t target) noexcept;
// The attention word was set at a poll; execution goes on at `rip` later.
Onward attention_wanted(Vcpu& vcpu, Callback& record, std::uint64_t rip) noexcept;
// Leaves: the instruction at record.rip is for the single-step executor.
Onward step_instruction(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
// STI found an interrupt waiting: ask for attention and go on.
Onward interrupt_window(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;

// Instructions (Site). The first group goes on at `resume`, the second wherever RIP ended up.
Onward push_flags(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward write_cr3(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;      // detail: source register
Onward write_fs_base(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;  // size: operand; detail: source
Onward write_gs_base(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward string_instruction(Vcpu& vcpu, Callback& record,
                          std::uint64_t) noexcept;  // size: width; detail: 1 movs, 0 stos
Onward pop_flags(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward system_call(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward system_return(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;  // size: operand size
Onward interrupt_return(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;

}  // namespace undercroft::translate
