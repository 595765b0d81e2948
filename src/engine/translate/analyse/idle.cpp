// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/analyse/idle.hpp"

#include "engine/translate/decode/registers.hpp"
#include "x86/registers.hpp"

namespace undercroft::translate {
namespace {

constexpr auto all_flags = static_cast<std::uint32_t>(RFLAGS::Arithmetic);

// Parts of general registers, four bits for each register: its low byte, the next, and the rest.
using Parts = std::uint64_t;
constexpr Parts low_byte = 1, high_byte = 2, whole = 7;

Parts parts_of(ZydisRegister reg) {
    Parts parts = whole;
    switch (ZydisRegisterGetClass(reg)) {
        case ZYDIS_REGCLASS_GPR16: parts = low_byte | high_byte; break;
        case ZYDIS_REGCLASS_GPR8: {
            bool high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
            parts = high ? high_byte : low_byte;
            break;
        }
        default: break;  // a write to 32 bits clears the rest
    }
    int number = gpr_number(reg);
    return number < 0 ? 0 : parts << 4 * number;
}

// All that it does is written in its operands and flags.
bool is_plain(const Instruction& i) {
    if (i.has_prefix(ZYDIS_ATTRIB_HAS_LOCK) || i.on_x87_state) return false;
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_MOV:
        case ZYDIS_MNEMONIC_MOVZX:
        case ZYDIS_MNEMONIC_MOVSX:
        case ZYDIS_MNEMONIC_MOVSXD:
        case ZYDIS_MNEMONIC_LEA:
        case ZYDIS_MNEMONIC_ADD:
        case ZYDIS_MNEMONIC_SUB:
        case ZYDIS_MNEMONIC_AND:
        case ZYDIS_MNEMONIC_OR:
        case ZYDIS_MNEMONIC_XOR:
        case ZYDIS_MNEMONIC_NOT:
        case ZYDIS_MNEMONIC_NEG:
        case ZYDIS_MNEMONIC_SHL:
        case ZYDIS_MNEMONIC_SHR:
        case ZYDIS_MNEMONIC_SAR:
        case ZYDIS_MNEMONIC_CMP:
        case ZYDIS_MNEMONIC_TEST:
        case ZYDIS_MNEMONIC_BT:
        case ZYDIS_MNEMONIC_LFENCE:
        case ZYDIS_MNEMONIC_MFENCE:
        case ZYDIS_MNEMONIC_PAUSE: return true;
        default: return i.category == ZYDIS_CATEGORY_CMOV || i.category == ZYDIS_CATEGORY_SETCC;
    }
}

bool may_take_part(const Instruction& i) {
    switch (i.kind) {
        case Kind::Nop:
        case Kind::JumpDirect:
        case Kind::JumpConditional: return true;
        case Kind::Copy:
        case Kind::BitString: return is_plain(i);
        case Kind::Helper: return i.mnemonic == ZYDIS_MNEMONIC_PAUSE;
        default: return false;
    }
}

// Zeroes its register, whatever was in there.
bool clears(const Instruction& i) {
    bool may = i.mnemonic == ZYDIS_MNEMONIC_XOR || i.mnemonic == ZYDIS_MNEMONIC_SUB;
    return may && i.operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           i.operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER && i.operand[0].reg == i.operand[1].reg;
}

// What the instructions so far have read before they wrote it, and what they have written.
class Round {
public:
    // False: writes something else than registers and flags.
    bool add(const Instruction& i) {
        if (i.kind == Kind::Nop) return true;
        Parts written = 0;
        for (unsigned n = 0; n < i.operand_count; ++n) {
            const auto& operand = i.operand[n];
            bool writes = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
            bool reads = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
            bool may_keep = (operand.actions & ZYDIS_OPERAND_ACTION_CONDWRITE) != 0;
            if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
                read(parts_of(operand.mem.base) | parts_of(operand.mem.index));
                if (writes) return false;
            } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
                Parts parts = parts_of(operand.reg);
                if ((reads || may_keep) && !clears(i)) read(parts);
                if (writes) written |= parts;
            }
        }
        written_ |= written;
        flags_read_ |= i.flags.read & ~flags_given_;
        flags_given_ |= i.flags.written;
        if (const auto* flags = i.cpu_flags) {
            flags_changed_ |= (flags->modified | flags->set_0 | flags->set_1 | flags->undefined) & all_flags;
        }
        return true;
    }
    bool carries_something() const { return (read_ & written_) != 0 || (flags_read_ & flags_changed_) != 0; }

private:
    void read(Parts parts) { read_ |= parts & ~written_; }

    Parts read_ = 0;
    Parts written_ = 0;
    std::uint32_t flags_read_ = 0;
    std::uint32_t flags_given_ = 0;
    std::uint32_t flags_changed_ = 0;  // may have become anything: given, or undefined
};

}  // namespace

bool only_waits(std::span<const Instruction> round) {
    Round sum;
    for (const Instruction& i : round) {
        if (!may_take_part(i) || !sum.add(i)) return false;
    }
    return !sum.carries_something();
}

}  // namespace undercroft::translate
