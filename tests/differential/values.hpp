// SPDX-License-Identifier: Apache-2.0
// Random values for registers and memory, mostly such as make a difference.

#pragma once

#include "random.hpp"
#include "state.hpp"

namespace undercroft::differential {

// An address to access: mostly in the data pages and the stack, often near a border, sometimes faulting.
std::uint64_t any_address(Random& random);
// In the data pages, to be read or written without a fault.
std::uint64_t good_address(Random& random);
// 64 bits: integers at their limits, floats of 32 and 64 bits, pointers, noise.
std::uint64_t any_number(Random& random);

State any_state(Random& random);

}  // namespace undercroft::differential
