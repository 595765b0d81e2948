// SPDX-License-Identifier: Apache-2.0
// A translated block, its exits, and the call sites of its code.
//
// Records live in CodeMemory until the cache is emptied; a discarded block's records stay, unreachable.

#pragma once

#include "cpu/vcpu.hpp"
#include "engine/translate/emit/assembler.hpp"
#include "x86/paging.hpp"

#include <cstdint>

namespace undercroft::translate {

struct Callback;

// What a callback returns in rax:rdx: where generated code goes on, and the value for r10 there (r11 becomes
// zero).
struct Onward {
    HostCode code;
    std::uint64_t r10;
};
// Called from generated code by the thunk, guest registers saved in the vCPU, vector state live: general
// registers only.
using CallbackFunction = Onward (*)(Vcpu& vcpu, Callback& record, std::uint64_t r10) noexcept;

// First member of every record that generated code hands to the thunk.
struct Callback {
    CallbackFunction function = nullptr;
};

struct Block;

// A place in a block that calls the monitor: a missed memory access, or an instruction done by a helper.
struct Site : Callback {
    HostCode resume = nullptr;   // the code after it
    std::uint64_t rip = 0;       // of the guest instruction
    std::uint8_t length = 0;     // of the guest instruction
    std::uint8_t remaining = 0;  // instructions from this one to the end of its block
    std::uint16_t size = 0;      // bytes accessed (memory), element width (string), operand width
    Access access = Access::Read;
    std::uint8_t detail = 0;       // what the helper wants to know besides
    std::int32_t stack_moved = 0;  // indirect branches: what was added to rsp, to take it back
    bool in_shadow = false;        // the instruction after STI: no interrupt before it has completed
    bool step_faults = false;  // another fault may come before a page fault: the single-step executor knows
    bool in_trace = false;
};

// The check of a block's second page.
struct TailSite : Site {
    std::uint32_t page_id = 0;  // the instance that it must be
};

// A direct way out of a block. There are many of them, and they are seldom in the processor's caches: small.
struct BlockExit : Callback {
    Block* from = nullptr;
    Block* to = nullptr;                 // when linked
    BlockExit* next_incoming = nullptr;  // in to's list
    std::uint64_t target = 0;            // guest RIP
    HostCode jump = nullptr;             // the 32-bit displacement to patch
    HostCode guard = nullptr;  // the 32-bit page-instance number to patch; null: same page, no guard
    HostCode stub = nullptr;   // where the jump goes while unlinked
    // Of an exit that `counts` how often it closes a loop: its code counts `rounds_left` down, to go to the
    // stub with the last one. When it is linked to a trace, or none can be made, a jump takes the place of
    // counting.
    std::uint32_t rounds_left = 0;
    std::uint16_t rounds = 0;  // what it begins with; zero: they are not counted any more
    bool counts = false;
    bool conditional = false;            // the jump is
    bool flags_in_host = false;          // link to the entry that expects flags in the host's flags
    AccessMode mode = AccessMode::User;  // at the target (STAC and CLAC change it)
    // Where a block ends with a conditional jump followed by a jump, and both are patched freely: so many
    // records from here is the other way out. Zero: it does not.
    std::int8_t to_sibling = 0;
    std::uint32_t live = 0;  // flags that are kept for the target; others it must not read

    bool is_hot() const { return rounds != 0 && rounds_left <= 1; }
    BlockExit* sibling() { return to_sibling == 0 ? nullptr : this + to_sibling; }
    // Where its code counts: dec dword [rip + rounds_left]; je stub; jmp.
    HostCode count() const { return jump - 13; }
};
static_assert(sizeof(BlockExit) == 80);

// A block or trace whose accesses share checks, one whose accesses are all checked by themselves, or a single
// instruction that writes across a page border.
enum class Variant : std::uint8_t { Merged, Unmerged, Crossing, UnmergedTrace };

struct Block {
    std::uint64_t rip = 0;
    std::uint64_t pfn = 0;
    std::uint32_t page_id = 0;
    std::uint16_t offset = 0;    // in the page
    std::uint16_t length = 0;    // guest bytes
    std::uint64_t granules = 0;  // of the page that the translation depends on (peeked ones included)
    std::uint32_t live_in = 0;   // flags it needs on entry
    AccessMode mode = AccessMode::User;
    Variant variant = Variant::Merged;
    bool valid = true;
    bool trace = false;              // goes on past branches
    bool calls = false;              // ends with a call
    bool idle = false;               // a trace of one round of a loop that only waits
    std::uint32_t tail_page_id = 0;  // of the page where its only instruction ends, if that crosses a page
    Block* whole = nullptr;          // this is not a block, but stands for one in the list of its second page
    HostCode indirect_entry =
        nullptr;  // verifies r10 == rip and the page; flags in the frame; made when first wanted
    HostCode frame_entry = nullptr;  // flags in the frame
    HostCode host_entry = nullptr;   // flags in the host's flags
    HostCode code_begin = nullptr;
    HostCode code_end = nullptr;
    HostCode cold_begin = nullptr;  // what is seldom executed lies elsewhere
    HostCode cold_end = nullptr;
    BlockExit* incoming = nullptr;  // exits of other blocks linked to this one
    Block* next_in_page = nullptr;
    // What a copy for another virtual page needs to know; none can be made if `movable` is false.
    bool movable = false;
    std::uint32_t first_relocation = 0;
    std::uint32_t relocations = 0;
    std::uint32_t record_bytes = 0;  // of this and the records behind it
    std::uint32_t first_fault_point = 0;
    std::uint32_t fault_points = 0;
};

}  // namespace undercroft::translate
