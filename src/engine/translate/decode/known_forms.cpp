// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/decode/known_forms.hpp"

#include "x86/prefixes.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft::translate {
namespace {

struct Head {
    std::uint64_t bytes = 0;  // the first in the lowest byte
    std::size_t length = 0;   // zero: longer than eight bytes, or of an encoding that has no place here
};

// Of the one-byte opcodes; where it is wrong, add() finds out.
bool has_modrm(unsigned opcode) {
    if (opcode < 0x40) return (opcode & 7) < 4;
    if (opcode >= 0x80 && opcode < 0x90) return true;
    if (opcode >= 0xd8 && opcode < 0xe0) return true;
    switch (opcode) {
        case 0x63:
        case 0x69:
        case 0x6b:
        case 0xc0:
        case 0xc1:
        case 0xc6:
        case 0xc7:
        case 0xd0:
        case 0xd1:
        case 0xd2:
        case 0xd3:
        case 0xf6:
        case 0xf7:
        case 0xfe:
        case 0xff: return true;
        default: return false;
    }
}

// Of those behind 0F: all but jumps and some that stand alone, which would only be told apart by more bytes
// than need be.
bool has_modrm_0f(unsigned opcode) { return (opcode & 0xf0) != 0x80 && (opcode & 0xf8) != 0xc8; }

// VEX, EVEX and XOP: what comes at the end may name a register.
bool is_other_encoding(unsigned opcode) {
    return opcode == 0x62 || opcode == 0x8f || opcode == 0xc4 || opcode == 0xc5;
}

Head head_of(std::span<const std::byte> code) {
    constexpr std::size_t longest = sizeof(std::uint64_t);
    if (code.size() < ZYDIS_MAX_INSTRUCTION_LENGTH) return {};  // at the end of a page
    Head head;
    std::memcpy(&head.bytes, code.data(), longest);
    std::uint64_t left = head.bytes;
    std::size_t length = 0;
    auto next = [&] {
        auto byte = static_cast<unsigned>(left & 0xff);
        left >>= 8;
        ++length;
        return byte;
    };
    unsigned opcode = next();
    while (length <= longest && is_legacy_prefix(opcode)) opcode = next();
    if (is_rex_prefix(opcode)) opcode = next();
    if (is_other_encoding(opcode)) return {};
    bool modrm = has_modrm(opcode);
    if (opcode == 0x0f) {
        opcode = next();
        if (opcode == 0x0f) return {};  // 3DNow: the opcode comes at the end
        modrm = has_modrm_0f(opcode);
        if (opcode == 0x38 || opcode == 0x3a) next();
    }
    if (modrm) {
        unsigned byte = next();
        if (byte < 0xc0 && (byte & 7) == 4) next();  // SIB
    }
    if (length > longest) return {};
    if (length < longest) head.bytes &= (std::uint64_t{1} << 8 * length) - 1;
    head.length = length;
    return head;
}

std::uint64_t value_at(const std::byte* bytes, std::size_t size, bool is_signed) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes, sizeof value);
    unsigned unused = 64 - 8 * static_cast<unsigned>(size);
    value <<= unused;
    return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(value) >> unused)
                     : value >> unused;
}

// `bytes` may be read eight bytes beyond the last value.
void set_values(const std::byte* bytes, const Values& values, std::span<Operand> operands) {
    if (values.displacement_operand >= 0)
        operands[static_cast<std::size_t>(values.displacement_operand)].mem.disp = static_cast<std::int64_t>(
            value_at(bytes + values.displacement_offset, values.displacement_size, true));
    if (values.immediate_operand >= 0)
        operands[static_cast<std::size_t>(values.immediate_operand)].imm = static_cast<std::int64_t>(
            value_at(bytes + values.immediate_offset, values.immediate_size, values.immediate_signed));
}

using Padded = std::array<std::byte, 24>;

Padded padded(std::span<const std::byte> bytes) {
    Padded copy{};
    std::memcpy(copy.data(), bytes.data(), std::min<std::size_t>(bytes.size(), ZYDIS_MAX_INSTRUCTION_LENGTH));
    return copy;
}

}  // namespace

bool KnownForms::find(std::span<const std::byte> bytes, bool user, Instruction& out) const noexcept {
    Head head = head_of(bytes);
    if (head.length == 0) return false;
    const Slot& slot = slots_[index(head.bytes, user)];
    if (slot.head != head.bytes || slot.stamp != stamp(user)) return false;
    static_cast<Form&>(out) = slot.form;
    std::copy_n(slot.operand.begin(), slot.form.operand_count, out.operand.begin());
    Padded copy{};
    std::memcpy(copy.data(), bytes.data(), ZYDIS_MAX_INSTRUCTION_LENGTH);
    std::memcpy(out.bytes.data(), copy.data(), out.bytes.size());
    set_values(copy.data(), slot.values, out.operand);
    return true;
}

void KnownForms::add(std::span<const std::byte> bytes, bool user, const Instruction& i,
                     const Values& values) noexcept {
    Head head = head_of(bytes);
    std::size_t first_value = values.displacement_size != 0 ? values.displacement_offset
                              : values.immediate_size != 0  ? values.immediate_offset
                                                            : i.length;
    if (head.length < first_value || head.length == 0 || i.operand_count > most_operands) return;
    // Are the values where they are said to be, and as they are said to be?
    auto operands = i.operand;
    set_values(padded(bytes).data(), values, operands);
    for (std::size_t n = 0; n < i.operand_count; ++n) {
        const Operand& operand = i.operand[n];
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.disp != operands[n].mem.disp) return;
        if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand.imm != operands[n].imm) return;
        if (operand.type == ZYDIS_OPERAND_TYPE_POINTER) return;
    }
    Slot& slot = slots_[index(head.bytes, user)];
    slot.head = head.bytes;
    slot.stamp = stamp(user);
    slot.values = values;
    slot.form = i;
    std::copy_n(i.operand.begin(), i.operand_count, slot.operand.begin());
}

}  // namespace undercroft::translate
