// SPDX-License-Identifier: Apache-2.0
// Zydis's names of registers as our numbers.

#pragma once

#include "engine/step/instruction.hpp"

#include <Zydis/Register.h>

#include <cstdint>

namespace undercroft {

constexpr bool between(ZydisRegister reg, ZydisRegister first, ZydisRegister last) {
    return reg >= first && reg <= last;
}

// A register operand; `size` as the operand has it (for kinds other than general registers).
constexpr Operand register_operand(ZydisRegister reg, std::uint16_t size) {
    auto number = [&](ZydisRegister first, unsigned start = 0) {
        return static_cast<std::uint8_t>(static_cast<unsigned>(reg) - static_cast<unsigned>(first) + start);
    };
    if (between(reg, ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_R15))
        return {OperandKind::Register, number(ZYDIS_REGISTER_RAX), 8};
    if (between(reg, ZYDIS_REGISTER_EAX, ZYDIS_REGISTER_R15D))
        return {OperandKind::Register, number(ZYDIS_REGISTER_EAX), 4};
    if (between(reg, ZYDIS_REGISTER_AX, ZYDIS_REGISTER_R15W))
        return {OperandKind::Register, number(ZYDIS_REGISTER_AX), 2};
    if (between(reg, ZYDIS_REGISTER_AL, ZYDIS_REGISTER_BL))
        return {OperandKind::Register, number(ZYDIS_REGISTER_AL), 1};
    if (between(reg, ZYDIS_REGISTER_AH, ZYDIS_REGISTER_BH))
        return {OperandKind::HighByte, number(ZYDIS_REGISTER_AH), 1};
    if (between(reg, ZYDIS_REGISTER_SPL, ZYDIS_REGISTER_R15B))
        return {OperandKind::Register, number(ZYDIS_REGISTER_SPL, 4), 1};
    if (between(reg, ZYDIS_REGISTER_ES, ZYDIS_REGISTER_GS))
        return {OperandKind::Segment, number(ZYDIS_REGISTER_ES), 2};
    if (between(reg, ZYDIS_REGISTER_CR0, ZYDIS_REGISTER_CR15))
        return {OperandKind::Control, number(ZYDIS_REGISTER_CR0), size};
    if (between(reg, ZYDIS_REGISTER_DR0, ZYDIS_REGISTER_DR15))
        return {OperandKind::Debug, number(ZYDIS_REGISTER_DR0), size};
    if (between(reg, ZYDIS_REGISTER_XMM0, ZYDIS_REGISTER_XMM15))
        return {OperandKind::Vector, number(ZYDIS_REGISTER_XMM0), size};
    if (between(reg, ZYDIS_REGISTER_YMM0, ZYDIS_REGISTER_YMM15))
        return {OperandKind::Vector, number(ZYDIS_REGISTER_YMM0), size};
    return {OperandKind::Other, 0, size};
}

// The base or index of an address.
constexpr std::uint8_t address_register(ZydisRegister reg) {
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) return MemoryForm::rip;
    Operand operand = register_operand(reg, 0);
    bool usable = operand.kind == OperandKind::Register || operand.kind == OperandKind::Vector;
    return usable ? operand.number : MemoryForm::none;
}

constexpr SegmentName segment_name(ZydisRegister reg) {
    if (!between(reg, ZYDIS_REGISTER_ES, ZYDIS_REGISTER_GS)) return SegmentName::DS;
    return static_cast<SegmentName>(static_cast<unsigned>(reg) - static_cast<unsigned>(ZYDIS_REGISTER_ES));
}

}  // namespace undercroft
