// SPDX-License-Identifier: Apache-2.0
// Which loops only wait: each further round leaves the processor and memory as they are, as long as others do
// not change the memory that it reads.
//
// That is so if nothing is written but registers and flags, and these get values that depend on memory and on
// what the round does not write: then the second round leaves what the first has left, and so does any later
// one. Registers are followed in three parts, so that a byte that is loaded again and again does not look as
// if it were carried from round to round in the rest of its register.
//
// Left out on purpose, since waiting loops do without: stores (even of the same value), calls, vector
// registers, and arithmetic beyond what conditions are made of.

#pragma once

#include "engine/translate/decode/instruction.hpp"

#include <span>

namespace undercroft::translate {

// `round`: the instructions in the order of their execution, the last of which goes back to the first. If one
// of them may leave to the monitor each time (a load from a device), that is for the caller to notice.
bool only_waits(std::span<const Instruction> round);

}  // namespace undercroft::translate
