// SPDX-License-Identifier: Apache-2.0
// Register names of the decoder as the processor's numbers.

#pragma once

#include <Zydis/Zydis.h>

namespace undercroft::translate {

// The general register number of an operand register, or -1: r10b, r10w, r10d, r10 are all 10; ah is 0.
int gpr_number(ZydisRegister reg);

}  // namespace undercroft::translate
