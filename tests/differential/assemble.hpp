// SPDX-License-Identifier: Apache-2.0
// Bytes of an instruction from what selects it.

#pragma once

#include "forms.hpp"
#include "random.hpp"

#include <span>

namespace undercroft::differential {

// With register 3 as base, zero displacements and immediates.
void assemble_plain(const Encoding& encoding, std::span<std::uint8_t> bytes);

// With random registers, addressing mode, prefixes, displacements and immediates: fifteen bytes, of which the
// decoder says how many belong to it.
void assemble_randomly(const Encoding& encoding, Random& random, std::span<std::uint8_t> bytes);

}  // namespace undercroft::differential
