// SPDX-License-Identifier: Apache-2.0
// What generated code calls. Every function here runs with guest vector state live in host registers: general
// registers only.
//
// Each leaves the vCPU exact: either it did what the record says and returns where to go on, or it has set
// vcpu.rip and a Leave for the run loop.

#pragma once

#include "engine/translate/cache/block.hpp"

namespace undercroft::translate {

// A software-TLB miss (Site). Returns the host address in r10. detail: one if the access may cross a page,
// where one that writes goes on in the Crossing variant.
Onward access_missed(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept;
// The shared check of an access group failed: perhaps only a miss, else the unmerged variant goes on from
// record.rip. detail: one if the group's first access only reads; even if a later one writes, this one must
// not set the page's D bit.
Onward range_missed(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept;
// The instruction reads across a page border: r10 is the address of a copy.
Onward read_across(Vcpu& vcpu, const Site& site, std::uint64_t address) noexcept;
// The same for one that writes, before and after it.
Onward begin_write_across(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept;
Onward end_write_across(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
// The page where the block's only instruction ends may be another one than it was (TailSite).
Onward tail_missed(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
// An exit that is not linked (BlockExit).
Onward exit_taken(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
// The way back of an idle loop (BlockExit), which is never linked: goes on there, or leaves with Leave::Spin.
Onward round_closed(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
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
Onward identify(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward load_data_segment(Vcpu& vcpu, Callback& record,
                         std::uint64_t selector) noexcept;  // detail: SegmentName
Onward call_monitor(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward invalidate_page(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept;
Onward invalidate_address_space(Vcpu& vcpu, Callback& record,
                                std::uint64_t address) noexcept;  // detail: the type's register
// With the vector state saved, as they reach devices. size: bytes
Onward read_port(Vcpu& vcpu, Callback& record, std::uint64_t port) noexcept;
Onward write_port(Vcpu& vcpu, Callback& record, std::uint64_t port) noexcept;
Onward read_model_specific(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward write_model_specific(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
// PAUSE; leaves with Leave::Pause each Options::pause_limit times.
Onward pause_instruction(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
// XSAVE and kin: r10 = address, becomes the host's of the area, all in one page; EngineFrame::component_mask
// is set.
Onward save_vectors(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept;
Onward restore_vectors(Vcpu& vcpu, Callback& record, std::uint64_t address) noexcept;
Onward pop_flags(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward system_call(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;
Onward system_return(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;  // size: operand size
Onward interrupt_return(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept;

}  // namespace undercroft::translate
