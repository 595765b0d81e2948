// SPDX-License-Identifier: Apache-2.0
// Operands as values: registers, high bytes, immediates, memory of up to eight bytes.

#pragma once

#include "engine/step/access.hpp"
#include "engine/step/context.hpp"

#include <cstdint>

namespace undercroft {

inline std::uint64_t read_general(const Vcpu& vcpu, const Operand& operand) {
    std::uint64_t value = vcpu.gpr[operand.number];
    if (operand.kind == OperandKind::HighByte) return value >> 8 & 0xff;
    return value & mask_of_size(operand.size);
}

inline void write_general(Vcpu& vcpu, const Operand& operand, std::uint64_t value) {
    std::uint64_t& reg = vcpu.gpr[operand.number];
    if (operand.kind == OperandKind::HighByte) {
        reg = (reg & ~0xff00ull) | (value & 0xff) << 8;
    } else {
        write_register(reg, value, operand.size);
    }
}

// False with context.trap set when memory faults.
[[nodiscard]] inline bool read_operand(Context& context, const Operand& operand, std::uint64_t& value) {
    switch (operand.kind) {
        case OperandKind::Register:
        case OperandKind::HighByte: value = read_general(context.vcpu, operand); return true;
        case OperandKind::Immediate: value = context.instruction.immediate; return true;
        case OperandKind::Memory: return read_memory(context, operand.size, value);
        default: value = 0; return true;
    }
}

[[nodiscard]] inline bool write_operand(Context& context, const Operand& operand, std::uint64_t value) {
    if (operand.kind == OperandKind::Memory) return write_memory(context, operand.size, value);
    write_general(context.vcpu, operand, value);
    return true;
}

}  // namespace undercroft
