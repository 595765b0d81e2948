// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/analyse/merge.hpp"

#include "engine/translate/decode/registers.hpp"

#include <algorithm>
#include <bit>
#include <optional>

namespace undercroft::translate {
namespace {

constexpr int rsp_number = 4;
constexpr int rbp_number = 5;
constexpr std::int64_t far = 1 << 20;  // displacements and moves beyond are not followed

struct Use {  // one access through a base register, and perhaps an index register
    int base;
    int index;  // or -1
    unsigned scale;
    std::int32_t disp;
    std::int32_t size;
    Access access;
};

bool is_home(int reg) { return reg == 10 || reg == 11; }

std::optional<Use> stack_use(const Instruction& i) {
    switch (i.kind) {
        case Kind::Push:
            if (i.operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY) return std::nullopt;
            return Use{rsp_number, -1, 0, -8, 8, Access::Write};
        case Kind::CallDirect: return Use{rsp_number, -1, 0, -8, 8, Access::Write};
        case Kind::Pop:
        case Kind::Return: return Use{rsp_number, -1, 0, 0, 8, Access::Read};
        case Kind::Leave: return Use{rbp_number, -1, 0, 0, 8, Access::Read};
        default: return std::nullopt;
    }
}

std::optional<Use> use_of(const Instruction& i) {
    if (i.kind != Kind::Copy) return stack_use(i);
    const auto* operand = i.memory();
    if (operand == nullptr || i.address_width != 64) return std::nullopt;
    const auto& m = operand->mem;
    if (m.base == ZYDIS_REGISTER_NONE || m.base == ZYDIS_REGISTER_RIP) return std::nullopt;
    if (m.segment == ZYDIS_REGISTER_FS || m.segment == ZYDIS_REGISTER_GS) return std::nullopt;
    int base = gpr_number(m.base);
    int index = m.index == ZYDIS_REGISTER_NONE ? -1 : gpr_number(m.index);
    if (base < 0 || is_home(base) || is_home(index)) return std::nullopt;
    if (m.index != ZYDIS_REGISTER_NONE && index < 0) return std::nullopt;  // a vector of indices
    // Far displacements would make the sums of 32 bits below wrap, and their group check the wrong range.
    if (m.disp < -far || m.disp > far) return std::nullopt;
    unsigned scale = index < 0 ? 0 : static_cast<unsigned>(std::countr_zero(unsigned{m.scale}));
    bool writes = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    return Use{base,
               index,
               scale,
               static_cast<std::int32_t>(m.disp),
               operand->size / 8,
               writes ? Access::Write : Access::Read};
}

class Tracker {
public:
    explicit Tracker(AccessGroups& groups) : groups_{groups} {
        for (Value& value : value_) value.root = next_root_++;
    }

    void add(Instruction& i) {
        auto use = use_of(i);
        if (use) join(i, *use);
        follow(i);
        if (i.follow == Follow::Nothing) return;
        sealed_ = groups_.count;
        limit_ = AccessGroups::max_walk;
    }

private:
    // What a register holds: an unknown number with a name of its own, plus a constant.
    struct Value {
        unsigned root = 0;
        std::int32_t offset = 0;
    };
    // Accesses whose addresses differ by a constant.
    struct Key {
        unsigned base_root;
        unsigned index_root;
        unsigned scale;
        bool operator==(const Key&) const = default;
    };

    Value& value(int reg) { return value_[static_cast<std::size_t>(reg)]; }

    void join(Instruction& i, const Use& use) {
        Value base = value(use.base);
        Value index = use.index < 0 ? Value{} : value(use.index);
        Key key{base.root, index.root, use.scale};
        std::int32_t at = base.offset + (index.offset << use.scale);
        std::int32_t low = at + use.disp;
        std::int32_t high = low + use.size;
        for (unsigned n = groups_.count; n-- > 0;) {
            AccessGroup& g = groups_.group[n];
            std::int32_t range = std::max(g.high, high) - std::min(g.low, low);
            if (key_[n] != key || range > limit_ || range - (g.high - g.low) > AccessGroups::max_range)
                continue;
            if (n < sealed_ && use.access == Access::Write && g.access == Access::Read) continue;
            g.low = std::min(g.low, low);
            g.high = std::max(g.high, high);
            if (use.access == Access::Write) g.access = Access::Write;
            ++g.members;
            i.group = static_cast<std::int8_t>(n);
            i.group_shift = base.offset - leader_base_[n];
            return;
        }
        if (groups_.count == AccessGroups::limit) return;
        unsigned n = groups_.count++;
        key_[n] = key;
        leader_base_[n] = base.offset;
        groups_.group[n] = {.access = use.access,
                            .leader_access = use.access,
                            .base = static_cast<std::int8_t>(use.base),
                            .index = static_cast<std::int8_t>(use.index),
                            .scale = static_cast<std::uint8_t>(use.scale),
                            .low = low,
                            .high = high,
                            .bias = at,
                            .members = 1};
        i.group = static_cast<std::int8_t>(n);
        i.leads_group = true;
    }

    // How the instruction changes the registers that accesses go through.
    void follow(const Instruction& i) {
        switch (i.kind) {
            case Kind::Push:
            case Kind::CallDirect: move(rsp_number, value(rsp_number), -8); return;
            case Kind::Pop:
                move(rsp_number, value(rsp_number), 8);
                forget(gpr_number(i.operand[0].reg));
                return;
            case Kind::Return: {
                bool with_arguments = i.operand_count_visible > 0;
                std::int64_t arguments = with_arguments ? i.operand[0].imm & 0xffff : 0;
                move(rsp_number, value(rsp_number), 8 + arguments);
                return;
            }
            case Kind::Leave:
                move(rsp_number, value(rbp_number), 8);
                forget(rbp_number);
                return;
            case Kind::Copy:
                if (follow_move(i)) return;
                break;
            default: break;
        }
        for (unsigned left = i.written; left != 0; left &= left - 1) forget(std::countr_zero(left));
    }

    static bool is_r64(const Operand& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_gpr64(operand.reg);
    }

    // mov r64, r64; add, sub r64, imm; inc, dec r64; lea r64, [r64 + imm].
    bool follow_move(const Instruction& i) {
        const auto& to = i.operand[0];
        const auto& by = i.operand[1];
        if (!is_r64(to)) return false;
        int reg = gpr_number(to.reg);
        bool constant = by.type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
        switch (i.mnemonic) {
            case ZYDIS_MNEMONIC_MOV:
                if (!is_r64(by)) return false;
                move(reg, value(gpr_number(by.reg)), 0);
                return true;
            case ZYDIS_MNEMONIC_LEA: {
                const auto& m = by.mem;
                if (i.address_width != 64 || m.index != ZYDIS_REGISTER_NONE ||
                    m.base == ZYDIS_REGISTER_NONE || m.base == ZYDIS_REGISTER_RIP)
                    return false;
                move(reg, value(gpr_number(m.base)), m.disp);
                return true;
            }
            case ZYDIS_MNEMONIC_INC: move(reg, value(reg), 1); return true;
            case ZYDIS_MNEMONIC_DEC: move(reg, value(reg), -1); return true;
            case ZYDIS_MNEMONIC_ADD:
                if (constant) move(reg, value(reg), by.imm);
                return constant;
            case ZYDIS_MNEMONIC_SUB:
                if (constant) move(reg, value(reg), -by.imm);
                return constant;
            default: return false;
        }
    }

    void move(int reg, Value from, std::int64_t by) {
        std::int64_t offset = from.offset + by;
        if (by < -far || by > far || offset < -far || offset > far)
            forget(reg);
        else
            value(reg) = {from.root, static_cast<std::int32_t>(offset)};
    }

    void forget(int reg) {
        if (reg >= 0) value(reg) = {next_root_++, 0};
    }

    AccessGroups& groups_;
    // Groups before the last way out of a trace. A write behind it may never come, and must not make of a
    // read one that is checked as a write: on a page that may only be read it would fail each time.
    unsigned sealed_ = 0;
    std::int32_t limit_ = AccessGroups::max_range;
    unsigned next_root_ = 1;  // zero: no register
    std::array<Value, 16> value_{};
    std::array<Key, AccessGroups::limit> key_{};
    std::array<std::int32_t, AccessGroups::limit> leader_base_{};  // offset of the leader's base register
};

}  // namespace

AccessGroups merge_accesses(std::span<Instruction> block) {
    AccessGroups groups;
    Tracker tracker{groups};
    for (Instruction& i : block) {
        i.group = -1;
        i.leads_group = false;
        i.group_shift = 0;
        tracker.add(i);
    }
    for (Instruction& i : block) {  // an access alone in its group is checked as itself
        if (i.group >= 0 && groups.group[static_cast<std::size_t>(i.group)].members < 2) i.group = -1;
    }
    for (unsigned n = 0; n < groups.count; ++n) groups.group[n].bias -= groups.group[n].low;
    return groups;
}

}  // namespace undercroft::translate
