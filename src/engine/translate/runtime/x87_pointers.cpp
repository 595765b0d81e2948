// SPDX-License-Identifier: Apache-2.0
// Opcode, address and operand address of the last x87 instruction: from the host's back to the guest's.
//
// Source: Intel SDM vol. 1 sections 8.1.8 and 8.1.9.
#include "engine/translate/runtime/translator.hpp"

#include <cstring>

namespace undercroft::translate {
namespace {

constexpr std::size_t opcode_at = 6;
constexpr std::size_t instruction_at = 8;
constexpr std::size_t operand_at = 16;

}  // namespace

void Translator::correct_x87_pointers() {
    std::byte* area = vcpu_.xsave.data();
    std::uint64_t instruction;
    std::memcpy(&instruction, area + instruction_at, 8);
    auto code = reinterpret_cast<HostCode>(instruction);
    if (!memory_->contains(code)) return;
    const FaultPoint* point = fault_point(code);
    std::uint16_t opcode = point != nullptr ? point->x87_opcode : std::uint16_t{0};
    instruction = point != nullptr ? point->rip : 0;
    std::memcpy(area + opcode_at, &opcode, 2);
    std::memcpy(area + instruction_at, &instruction, 8);
    std::memcpy(area + operand_at, &EngineFrame::of(vcpu_).x87_operand, 8);
}

}  // namespace undercroft::translate
