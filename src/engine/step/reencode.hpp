// SPDX-License-Identifier: Apache-2.0
// The guest's instruction as the host is to run it: without prefixes that depend on the guest's segments and
// mode, with its memory operand at [memory] and rsp, which is the host's stack pointer, replaced by another
// register.

#pragma once

#include "engine/step/emit.hpp"
#include "engine/step/instruction.hpp"

#include <Zydis/DecoderTypes.h>

#include <cstdint>

namespace undercroft {

// Which state an instruction names. Bit n of a mask: register n.
struct Footprint {
    std::uint16_t general = 0;  // named at all
    std::uint16_t general_written = 0;
    std::uint16_t vector = 0;
    std::uint16_t vector_written = 0;
    bool high_byte = false;   // AH..BH: no REX prefix possible
    bool flags_read = false;  // or kept in part
    bool flags_written = false;
    bool supported = true;  // nothing but general, vector, MMX, x87 registers
    std::uint8_t needs = 0;
};
Footprint footprint_of(const ZydisDecodedInstruction& source, const ZydisDecodedOperand* operands);

// Host registers that the stub gives to what is not in its own register.
struct Assignment {
    static constexpr HostRegister none = 16;
    HostRegister stack_pointer = none;  // stands for guest rsp, if the instruction names it
    HostRegister frame = none;          // the vCPU; not named by the instruction
    HostRegister memory = none;         // the memory operand's pointer; dead after the instruction
};
Assignment assign(const Footprint& footprint);

// Appends the instruction. False: a form that cannot be rewritten.
bool reencode(CodeBuffer& out, const ZydisDecodedInstruction& source, const ZydisDecodedOperand* operands,
              const Instruction& instruction, const Assignment& assignment);

}  // namespace undercroft
