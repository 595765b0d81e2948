// SPDX-License-Identifier: Apache-2.0
// Cases: one sequence with its state, as text.
//
// A line each: `name value`, numbers in hexadecimal; `code` with the bytes of one instruction. What is not
// named is zero, the x87 and SSE control words are as after a reset. # begins a comment.

#pragma once

#include "base/result.hpp"
#include "state.hpp"

#include <string>

namespace undercroft::differential {

std::string write_case(const Sequence& sequence);
undercroft::Result<Sequence> read_case(const std::string& path);

}  // namespace undercroft::differential
