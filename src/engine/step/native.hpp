// SPDX-License-Identifier: Apache-2.0
// Running an instruction as itself: the parts that handlers of special cases share with the general one.

#pragma once

#include "engine/step/access.hpp"
#include "engine/step/context.hpp"

namespace undercroft {

// #UD or #NM when the state that the instruction works on is not enabled.
[[nodiscard]] bool may_use_state(Context& context);

// Runs the stub on `memory` (null if there is no memory operand). False: context.trap is the exception that
// the instruction raised; general registers and memory are unchanged.
[[nodiscard]] bool run_stub(Context& context, void* memory);

}  // namespace undercroft
