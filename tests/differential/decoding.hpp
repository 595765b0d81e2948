// SPDX-License-Identifier: Apache-2.0
// Zydis, set up as the guest's processor decodes; which instructions may be tried; and what a form is:
// mnemonic, kinds and sizes of the visible operands, LOCK and REP.

#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace undercroft::differential {

struct Decoded {
    ZydisDecodedInstruction raw;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operand;

    std::span<const ZydisDecodedOperand> visible() const {
        return {operand.data(), raw.operand_count_visible};
    }
    bool has(ZydisInstructionAttributes attribute) const { return (raw.attributes & attribute) != 0; }
    // The explicit memory operand; null if there is none. LEA's counts, too.
    const ZydisDecodedOperand* memory() const;
};

enum class Decoding : std::uint8_t { Good, Truncated, Unknown };
Decoding decode_all(std::span<const std::uint8_t> bytes, Decoded& out);
inline bool decode(std::span<const std::uint8_t> bytes, Decoded& out) {
    return decode_all(bytes, out) == Decoding::Good;
}

// Null if the instruction may be tried; else why not.
const char* left_out(const Decoded& instruction);

std::uint64_t form_of(const Decoded& instruction);
std::string form_name(const Decoded& instruction);

std::string disassemble(std::span<const std::uint8_t> bytes, std::uint64_t address);

}  // namespace undercroft::differential
