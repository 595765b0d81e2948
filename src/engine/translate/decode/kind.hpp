// SPDX-License-Identifier: Apache-2.0
// Which lowering a decoded instruction goes to.

#pragma once

#include "engine/translate/decode/instruction.hpp"

namespace undercroft::translate {

// `user`: at privilege level 3.
Kind kind_of(const Instruction& i, const Assumptions& assumptions, bool user);

}  // namespace undercroft::translate
