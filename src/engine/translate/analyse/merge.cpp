// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/analyse/merge.hpp"

#include "engine/translate/decode/registers.hpp"

#include <algorithm>
#include <optional>

namespace undercroft::translate {
namespace {

constexpr int rsp_number = 4;
constexpr int rbp_number = 5;
constexpr std::int64_t far = 1 << 20;  // displacements and moves beyond are not followed

struct Use {  // one access through a base register
    int base;
    std::int32_t disp;
    std::int32_t size;
    Access access;
};

bool is_home(int reg) { return reg == 10 || reg == 11; }

std::optional<Use> stack_use(const Instruction& i) {
    switch (i.kind) {
        case Kind::Push:
            if (i.operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY) return std::nullopt;
            return Use{rsp_number, -8, 8, Access::Write};
        case Kind::CallDirect: return Use{rsp_number, -8, 8, Access::Write};
        case Kind::Pop:
        case Kind::Return: return Use{rsp_number, 0, 8, Access::Read};
        case Kind::Leave: return Use{rbp_number, 0, 8, Access::Read};
        default: return std::nullopt;
    }
}

std::optional<Use> use_of(const Instruction& i) {
    if (i.kind != Kind::Copy) return stack_use(i);
    const auto* operand = i.memory();
    if (operand == nullptr || i.raw.address_width != 64) return std::nullopt;
    const auto& m = operand->mem;
    if (m.index != ZYDIS_REGISTER_NONE || m.base == ZYDIS_REGISTER_NONE || m.base == ZYDIS_REGISTER_RIP)
        return std::nullopt;
    if (m.segment == ZYDIS_REGISTER_FS || m.segment == ZYDIS_REGISTER_GS) return std::nullopt;
    int base = gpr_number(m.base);
    if (base < 0 || is_home(base)) return std::nullopt;
    // Far displacements would make the sums of 32 bits below wrap, and their group check the wrong range.
    if (m.disp.value < -far || m.disp.value > far) return std::nullopt;
    bool writes = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    return Use{base, static_cast<std::int32_t>(m.disp.value), operand->size / 8,
               writes ? Access::Write : Access::Read};
}

class Tracker {
public:
    explicit Tracker(AccessGroups& groups) : groups_{groups} { open_.fill(-1); }

    void add(Instruction& i) {
        auto use = use_of(i);
        if (use) join(i, *use);
        follow(i);
    }

private:
    void join(Instruction& i, const Use& use) {
        auto base = static_cast<std::size_t>(use.base);
        std::int32_t low = offset_[base] + use.disp;
        std::int32_t high = low + use.size;
        std::int8_t& open = open_[base];
        if (open >= 0) {
            AccessGroup& g = groups_.group[static_cast<std::size_t>(open)];
            if (std::max(g.high, high) - std::min(g.low, low) <= AccessGroups::max_range) {
                g.low = std::min(g.low, low);
                g.high = std::max(g.high, high);
                if (use.access == Access::Write) g.access = Access::Write;
                ++g.members;
                i.group = open;
                return;
            }
        }
        if (groups_.count == AccessGroups::limit) return;
        open = static_cast<std::int8_t>(groups_.count++);
        groups_.group[static_cast<std::size_t>(open)] = {.access = use.access,
                                                         .leader_access = use.access,
                                                         .base = static_cast<std::int8_t>(use.base),
                                                         .low = low,
                                                         .high = high,
                                                         .bias = offset_[base],
                                                         .members = 1};
        i.group = open;
        i.leads_group = true;
    }

    // How the instruction changes the registers that accesses go through.
    void follow(const Instruction& i) {
        switch (i.kind) {
            case Kind::Push: offset_[rsp_number] -= 8; return;
            case Kind::Pop: {
                offset_[rsp_number] += 8;
                forget(gpr_number(i.operand[0].reg.value));
                return;
            }
            case Kind::Copy:
                if (auto moved = constant_move(i)) {
                    offset_[static_cast<std::size_t>(gpr_number(i.operand[0].reg.value))] += *moved;
                    return;
                }
                break;
            default: break;
        }
        for (unsigned n = 0; n < i.raw.operand_count; ++n) {
            const auto& operand = i.operand[n];
            if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
            if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0)
                forget(gpr_number(operand.reg.value));
        }
    }

    // add, sub r64, imm and lea r64, [r64 + imm]: by how much the register moves.
    static std::optional<std::int32_t> constant_move(const Instruction& i) {
        const auto& to = i.operand[0];
        const auto& by = i.operand[1];
        bool whole = to.type == ZYDIS_OPERAND_TYPE_REGISTER &&
                     ZydisRegisterGetClass(to.reg.value) == ZYDIS_REGCLASS_GPR64;
        if (!whole) return std::nullopt;
        std::int64_t moved = 0;
        if (i.raw.mnemonic == ZYDIS_MNEMONIC_LEA) {
            if (by.mem.base != to.reg.value || by.mem.index != ZYDIS_REGISTER_NONE ||
                i.raw.address_width != 64)
                return std::nullopt;
            moved = by.mem.disp.value;
        } else if (by.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && i.raw.mnemonic == ZYDIS_MNEMONIC_ADD) {
            moved = by.imm.value.s;
        } else if (by.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && i.raw.mnemonic == ZYDIS_MNEMONIC_SUB) {
            moved = -by.imm.value.s;
        } else {
            return std::nullopt;
        }
        if (moved < -far || moved > far) return std::nullopt;
        return static_cast<std::int32_t>(moved);
    }

    void forget(int reg) {
        if (reg < 0) return;
        auto n = static_cast<std::size_t>(reg);
        offset_[n] = 0;
        open_[n] = -1;
    }

    AccessGroups& groups_;
    std::array<std::int32_t, 16> offset_{};
    std::array<std::int8_t, 16> open_{};  // the group that accesses through each register may join
};

}  // namespace

AccessGroups merge_accesses(std::span<Instruction> block) {
    AccessGroups groups;
    Tracker tracker{groups};
    for (Instruction& i : block) {
        i.group = -1;
        i.leads_group = false;
        tracker.add(i);
    }
    for (Instruction& i : block) {  // an access alone in its group is checked as itself
        if (i.group >= 0 && groups.group[static_cast<std::size_t>(i.group)].members < 2) i.group = -1;
    }
    for (unsigned n = 0; n < groups.count; ++n) groups.group[n].bias -= groups.group[n].low;
    return groups;
}

}  // namespace undercroft::translate
