// SPDX-License-Identifier: Apache-2.0
// What an instruction does to the arithmetic flags, as a processor would.

#pragma once

#include "engine/translate/decode/instruction.hpp"

namespace undercroft::translate {

// From `raw` and `operand` alone; `shown` is left to the caller.
FlagEffects flag_effects(const Instruction& i);

}  // namespace undercroft::translate
