// SPDX-License-Identifier: Apache-2.0
// Which instructions emitted code may consist of at all, and which fields of the frame it may touch.

#pragma once

#include "engine/translate/emit/assembler.hpp"
#include "x86/paging.hpp"

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace undercroft::fuzz {

struct HostInstruction {
    ZydisDecodedInstruction raw;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operand;

    bool decode(std::span<const std::byte> bytes);
    bool reads(const ZydisDecodedOperand& what) const {
        return (what.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
    }
    bool writes(const ZydisDecodedOperand& what) const {
        return (what.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    }
    std::span<const ZydisDecodedOperand> operands() const { return {operand.data(), raw.operand_count}; }
    bool writes_flags() const;
    bool repeats() const;  // rep movs, rep stos
};

// Empty if the instruction may occur; else why not. Memory operands are judged elsewhere.
std::string objection(const HostInstruction& i);

// May emitted code access [offset, offset + size) behind gs so?
bool frame_allows(std::uint64_t offset, unsigned size, Access access);

}  // namespace undercroft::fuzz
