// SPDX-License-Identifier: Apache-2.0
// Encodings that processors read otherwise than Zydis: found by comparing with the bare processor
// (tests/differential).

#pragma once

#include "engine/step/instruction.hpp"

#include <Zydis/DecoderTypes.h>

#include <cstdint>
#include <span>

namespace undercroft {

// Corrects `out`, decoded from `source`. False: #UD.
bool apply_quirks(const ZydisDecodedInstruction& source, bool amd, Instruction& out);

// Of bytes that end before the instruction does: whether it is #UD already.
bool is_undefined_so_far(std::span<const std::uint8_t> bytes, bool amd);

}  // namespace undercroft
