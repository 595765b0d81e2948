// SPDX-License-Identifier: Apache-2.0
// The few pieces of code that stand between the monitor and generated code; made once per code cache.

#pragma once

#include "cpu/vcpu.hpp"
#include "engine/translate/cache/block.hpp"
#include "engine/translate/cache/code_memory.hpp"

#include <array>

namespace undercroft::translate {

struct Thunks {
    // void enter(Vcpu*): loads the guest's state and jumps to EngineFrame::entry; returns when generated code
    // leaves, with everything at rest in the vCPU and EngineFrame::leave saying why. gs base must be
    // gs_base_of(vCPU).
    HostCode enter = nullptr;
    // r11 = Callback*, r10 = argument: saves the guest's general registers, calls the function on the host's
    // stack, reloads them and goes where it said.
    HostCode call = nullptr;
    // The same for a missed access that wants its distance: r10 is the guest address, and afterwards r11 the
    // host address that the function gave minus it.
    HostCode call_for_distance = nullptr;
    // A check has failed: r10 = the guest address, r11 = Site*. If only because what is accessed crosses into
    // another page, goes on behind the check as if it had not: where the software TLB has both pages, and
    // they lie side by side in the host's memory, there is nothing else to find out. If not, it is a call.
    struct Missed {
        HostCode for_host = nullptr;      // ends like `call`
        HostCode for_distance = nullptr;  // ends like `call_for_distance`
    };
    std::array<Missed, 2 * access_mode_count> missed{};
    static constexpr std::size_t missed_index(AccessMode mode, Access access) {
        return 2 * static_cast<std::size_t>(mode) + (access == Access::Write ? 1 : 0);
    }
    // As `call`, for functions that reach devices: the vector state is in the vCPU meanwhile.
    HostCode call_outside = nullptr;
    // Where a callback goes to leave for the run loop: guest registers are in the vCPU already.
    HostCode leave = nullptr;
    // A jump-cache slot without a block: r10 = guest target.
    HostCode indirect_miss = nullptr;
    // The attention word is set: r10 = where guest code goes on.
    HostCode attention = nullptr;
};

struct ThunkRecords {
    Callback indirect_miss;
    Callback attention;
};

// `records` must outlive the code.
Thunks make_thunks(CodeMemory& memory, ThunkRecords& records);

// What the jump cache holds for a block: verifies that r10 is its address and that the page still is its
// page, polls (the limit of instructions, too, if they are `counted`), and goes on at frame_entry. A block
// that is made because an indirect branch leads to it has it in front; for others it is made when first
// wanted, which needs general registers only. Null: no room.
void emit_indirect_entry(Assembler& as, const Thunks& thunks, const Block& block, bool counted);
HostCode make_indirect_entry(CodeMemory& memory, const Thunks& thunks, const Block& block, bool counted);

}  // namespace undercroft::translate
