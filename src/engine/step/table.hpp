// SPDX-License-Identifier: Apache-2.0
// The dispatch table: which handler executes an instruction, by mnemonic.
//
// Each topic file gives its list of entries. An instruction that is in none of them runs natively if its
// category is known to touch nothing but its operands; everything else is unknown.

#pragma once

#include "engine/step/instruction.hpp"

#include <Zydis/DecoderTypes.h>

#include <span>

namespace undercroft {

struct TableEntry {
    ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
    Handler handler = nullptr;
    bool needs_stub = false;
    bool undefined = false;  // with no handler: #UD on every processor like ours
};
using TableEntries = std::span<const TableEntry>;

// The entry for a decoded instruction; handler null: none.
TableEntry handler_for(const ZydisDecodedInstruction& source, const Instruction& instruction);

TableEntries move_entries();
TableEntries stack_entries();
TableEntries branch_entries();
TableEntries far_branch_entries();
TableEntries flag_entries();
TableEntries string_entries();
TableEntries port_entries();
TableEntries arithmetic_entries();
TableEntries system_entries();
TableEntries segment_entries();
TableEntries legacy_entries();
TableEntries random_entries();
TableEntries vector_entries();
TableEntries vector_state_entries();
TableEntries x87_entries();

// The handlers behind `mov` and the two mnemonics that name both a string and a vector instruction.
Outcome move_general(Context& context);
Outcome move_to_segment(Context& context);
Outcome move_from_segment(Context& context);
Outcome move_to_control(Context& context);
Outcome move_from_control(Context& context);
Outcome move_to_debug(Context& context);
Outcome move_from_debug(Context& context);

// Runs the instruction itself, in its stub. Defined in native.cpp.
Outcome run_native(Context& context);

}  // namespace undercroft
