// SPDX-License-Identifier: Apache-2.0
// The far forms of JMP, CALL and RET, which share their mnemonics with the near ones.

#pragma once

#include "engine/step/context.hpp"

namespace undercroft {

Outcome jump_far(Context& context);
Outcome call_far(Context& context);
Outcome return_far(Context& context);

}  // namespace undercroft
