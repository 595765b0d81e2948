// SPDX-License-Identifier: Apache-2.0
// Which arithmetic flags are live where: a backward pass over a block.
//
// A check of the software TLB destroys the host's flags, so the lowering saves the guest's first, if anyone
// may still read them. Flags that are overwritten unread are not saved; a fault in between shows them stale
// in the pushed RFLAGS, unless `exact` asks that every instruction that may fault counts as a reader.

#pragma once

#include "engine/translate/decode/instruction.hpp"

#include <cstdint>
#include <span>

namespace undercroft::translate {

enum class FlagPrecision : std::uint8_t { Lazy, Exact };

// Fills in live_after of each instruction, given what is live after the last. Returns what is live before the
// first.
std::uint32_t analyse_flags(std::span<Instruction> block, std::uint32_t live_out, FlagPrecision precision);

}  // namespace undercroft::translate
