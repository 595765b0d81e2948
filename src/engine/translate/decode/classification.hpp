// SPDX-License-Identifier: Apache-2.0
// The lists of instructions that translation goes by. What is on none of them runs in the single-step
// executor, which also decides what does not exist on our processor.

#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>

namespace undercroft::translate {

// What an instruction needs of the processor: nothing, CR4.OSFXSR and its like, or XCR0.AVX besides.
enum class Family : std::uint8_t { Integer, Vector, Avx, Other };
Family family_of(ZydisISAExt isa_ext);

// Integer instructions without implicit memory operands, privilege or control transfer.
bool is_plain_integer(ZydisMnemonic mnemonic);

// x87 and vector instructions with an odd memory operand: implicit, masked, gathered, or a whole state.
bool is_odd_vector(ZydisMnemonic mnemonic);

bool is_conditional_move_or_set(ZydisInstructionCategory category);

// No effect at all.
bool is_hint(ZydisMnemonic mnemonic);

bool is_fence(ZydisMnemonic mnemonic);

}  // namespace undercroft::translate
