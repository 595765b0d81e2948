// SPDX-License-Identifier: Apache-2.0
// What an instruction does to the arithmetic flags, as a processor would.

#pragma once

#include "engine/translate/decode/instruction.hpp"

namespace undercroft::translate {

// From its form and operands alone; `shown` is left to the caller.
FlagEffects flag_effects(const Instruction& i);

// Shifts and rotations: their effects depend on the count, not on the form alone.
bool shifts(ZydisMnemonic mnemonic);

}  // namespace undercroft::translate
